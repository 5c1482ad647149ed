"""OpenVINO: writes a traced network as an IR folder that follows the artifact contract."""

import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from halnet.artifact import INPUT_NAME, Metadata
from halnet.errors import ArtifactError
from halnet.export.config import Target
from halnet.packages import import_openvino
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.ov import XML_FILE, compile_config
from halnet.signal_stack import kept_signal_stack

if TYPE_CHECKING:  # it needs ONNX Runtime, which FP32 and FP16 do not
    from halnet.calibration.sessions import AgeFunction

ov = import_openvino("--format openvino", "export,openvino")

MIN_VALUES = 1024  # a smaller constant is not worth the node that converts it to float32


def write_openvino(proto: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a traced network as a folder with halnet.xml and halnet.bin; rt_info has the metadata.

    In FP16, the weights are stored as float16: a GPU or NPU computes in it, and a CPU converts them
    to float32. In INT8, the weights that stay in floating point are stored as float16 too.
    """
    del target  # the folder runs on any machine
    save_openvino(_convert(proto, metadata.precision == "int8"), metadata, path)


@kept_signal_stack()
def open_age_function(proto: Any, threads: int | None = None) -> "AgeFunction":
    """Return a function that runs a traced INT8 network on the CPU as its folder would be run."""
    config = compile_config("CPU", "f32", RuntimeOptions(threads=threads))
    compiled = ov.Core().compile_model(_convert(proto, int8=True), "CPU", config)
    return lambda crops: compiled({INPUT_NAME: crops})["age"]


def save_openvino(model: Any, metadata: Metadata, path: Path) -> None:
    """Save an `ov.Model` as an IR folder with the metadata in its rt_info.

    Raises ArtifactError if it cannot be written, for example because the disk is full.
    """
    for key, value in metadata.to_properties().items():
        model.set_rt_info(value, key.split(".", 1))  # halnet.KEY: section and key
    path.mkdir(parents=True, exist_ok=True)
    try:
        ov.save_model(model, path / XML_FILE, compress_to_fp16=metadata.precision == "fp16")
    except RuntimeError as error:  # OpenVINO does not say what the system reported
        reason = (str(error).splitlines() or [type(error).__name__])[-1]
        free = shutil.disk_usage(path).free / 1e6
        raise ArtifactError(
            f"{path.name}: OpenVINO could not write the model ({reason}); "
            f"{free:.0f} MB are free on its disk: free more, or name another folder with --out"
        ) from error


def _convert(proto: Any, int8: bool) -> Any:
    """Return the `ov.Model` of a traced network."""
    model = ov.Core().read_model(proto.SerializeToString())
    # OpenVINO's own converter does this after reading: it computes shapes and removes three nodes
    # in five.
    import_module("openvino._offline_transformations").apply_moc_transformations(model, cf=True)
    if int8:
        _store_as_half(model)
    return model


def _store_as_half(model: Any) -> None:
    """Store the large float32 constants of an `ov.Model` as float16, converted when it is compiled.

    OpenVINO's own compression skips a model that contains integers.
    """
    ops = import_module("openvino.opset13")
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != ov.Type.f32:
            continue
        if node.data.size < MIN_VALUES:
            continue
        converted = ops.convert(ops.constant(node.data.astype(np.float16)), "f32")
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(converted.output(0))
