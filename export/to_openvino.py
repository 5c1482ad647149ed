"""OpenVINO: an IR folder by the artifact contract."""

import tempfile
from pathlib import Path
from typing import Any

import openvino as ov
from openvino._offline_transformations import apply_moc_transformations

from halnet.artifact import INPUT_NAME, Metadata
from halnet.calibration.sessions import Ages
from halnet.export.targets import Target
from halnet.runtimes.ov import XML_FILE, compile_config


def write_openvino(proto: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a traced network as a folder with halnet.xml and halnet.bin, metadata in rt_info.

    Of the precision fp16 the weights are stored as float16: a GPU or NPU computes in it, a CPU
    widens them again. So are those of an int8 network that are no integers.
    """
    del target  # the folder runs on every device
    save_openvino(_convert(proto), metadata, path)


def open_ages(proto: Any, threads: int | None = None) -> Ages:
    """Return a function that runs a traced INT8 network as its folder would be run, on the CPU."""
    config = compile_config("CPU", "f32", "latency", threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, XML_FILE)
        ov.save_model(_convert(proto), path, compress_to_fp16=True)
        core = ov.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", config)
    return lambda crops: compiled({INPUT_NAME: crops})["age"]


def _convert(proto: Any) -> Any:
    model = ov.Core().read_model(proto.SerializeToString())
    # What OpenVINO's own converter does after reading: shapes computed, three nodes in five gone.
    apply_moc_transformations(model, cf=True)
    return model


def save_openvino(model: Any, metadata: Metadata, path: Path) -> None:
    """Save an `ov.Model` as such a folder."""
    for key, value in metadata.to_properties().items():
        model.set_rt_info(value, key.split(".", 1))  # halnet.KEY: section and key
    path.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, path / XML_FILE, compress_to_fp16=metadata.precision != "fp32")
