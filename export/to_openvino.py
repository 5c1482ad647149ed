"""OpenVINO: an IR folder by the artifact contract."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME, Metadata
from halnet.calibration.sessions import AgeFunction
from halnet.export.config import Target
from halnet.runtimes.ov import XML_FILE, compile_config, import_openvino

ov = import_openvino("format openvino", "export,openvino")

LARGE = 1024  # values: a smaller constant is not worth a node that widens it


def write_openvino(proto: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a traced network as a folder with halnet.xml and halnet.bin, metadata in rt_info.

    Of the precision fp16 the weights are stored as float16: a GPU or NPU computes in it, a CPU
    widens them again. So are those of an int8 network that are no integers.
    """
    del target  # the folder runs on every device
    save_openvino(_convert(proto, metadata.precision == "int8"), metadata, path)


def open_age_function(proto: Any, threads: int | None = None) -> AgeFunction:
    """Return a function that runs a traced INT8 network as its folder would be run, on the CPU."""
    config = compile_config("CPU", "f32", "latency", threads)
    compiled = ov.Core().compile_model(_convert(proto, int8=True), "CPU", config)
    return lambda crops: compiled({INPUT_NAME: crops})["age"]


def _convert(proto: Any, int8: bool) -> Any:
    model = ov.Core().read_model(proto.SerializeToString())
    # What OpenVINO's own converter does after reading: shapes computed, three nodes in five gone.
    import_module("openvino._offline_transformations").apply_moc_transformations(model, cf=True)
    if int8:
        _store_as_half(model)
    return model


def save_openvino(model: Any, metadata: Metadata, path: Path) -> None:
    """Save an `ov.Model` as such a folder."""
    for key, value in metadata.to_properties().items():
        model.set_rt_info(value, key.split(".", 1))  # halnet.KEY: section and key
    path.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, path / XML_FILE, compress_to_fp16=metadata.precision == "fp16")


def _store_as_half(model: Any) -> None:
    """Store the large float32 constants of an `ov.Model` as float16, widened when it is compiled.

    OpenVINO's own compression leaves out a model that has integers in it.
    """
    ops = import_module("openvino.opset13")
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != ov.Type.f32:
            continue
        if node.data.size < LARGE:
            continue
        widened = ops.convert(ops.constant(node.data.astype(np.float16)), "f32")
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(widened.output(0))
