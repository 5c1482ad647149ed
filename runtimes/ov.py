"""OpenVINO back end: IR folders (`*_openvino_model/`) and `.onnx` files on CPU, GPU or NPU."""

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, PREFIX, Metadata
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.packages import import_library
from halnet.results import Outputs, join_outputs
from halnet.runtimes.base import (
    BatchLimits,
    Crops,
    RuntimeBase,
    RuntimeOptions,
    RuntimeSpec,
    check_signature,
    thread_count,
)
from halnet.runtimes.onnx_file import read_onnx

XML_FILE = "halnet.xml"  # in the folder, with halnet.bin beside it


class OpenVINORuntime(RuntimeBase):
    """A model compiled for one device. Safe to share between threads.

    Computes in the precision of the artifact, not in bf16 or f16 where the device would like to:
    ages would move unseen. `mode` "throughput" spreads the crops of a call over all the requests
    that the device likes to have in flight.
    """

    def __init__(self, model: str | Path, options: RuntimeOptions = RuntimeOptions()) -> None:
        ov = import_openvino()
        core = ov.Core()
        name = _pick(core, options.device)
        network, metadata = _read(core, Path(model))
        config = compile_config(name, _precision(metadata, name), options.mode, options.threads)
        try:
            self._compiled: Any = core.compile_model(network, name, config)
        except RuntimeError as error:
            raise ArtifactError(
                f"{model}: OpenVINO cannot compile it for {name}: {_last_line(error)}"
            ) from error
        self._queue: Any = (
            ov.AsyncInferQueue(self._compiled) if options.mode == "throughput" else None
        )
        self._lock = threading.Lock()
        self.spec = RuntimeSpec(
            "openvino",
            ov.get_version().split("-")[0],
            name,
            self._compiled.get_property("INFERENCE_NUM_THREADS") if _is_cpu(name) else 0,
            str(model),
            metadata,
            _batch_limits(network),
            options.mode,
        )

    def close(self) -> None:
        """Let the compiled model go."""
        self._compiled = self._queue = None

    def _infer(self, crops: Crops) -> Outputs:
        if self._queue is not None and self.spec.batch_limits.minimum == 1:
            return self._infer_queue(crops)
        # A request of its own for each call: calls may come from several threads.
        request = self._compiled.create_infer_request()
        request.infer({INPUT_NAME: crops})
        return _outputs(request)

    def _infer_queue(self, crops: Crops) -> Outputs:
        parts: list[Any] = [None] * len(crops)

        def keep(request: Any, index: int) -> None:
            parts[index] = _outputs(request)

        with self._lock:
            self._queue.set_callback(keep)
            for index in range(len(crops)):
                self._queue.start_async({INPUT_NAME: crops[index : index + 1]}, index)
            self._queue.wait_all()
        return join_outputs(parts)


def compile_config(device: str, precision: str, mode: str, threads: int | None) -> dict[str, Any]:
    """Return the properties that a model is compiled with: `precision` f32 or f16."""
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": mode.upper(),
        "INFERENCE_PRECISION_HINT": precision,
    }
    if _is_cpu(device):
        config["INFERENCE_NUM_THREADS"] = thread_count(threads)
    return config


def devices() -> list[str]:
    """Return the devices that OpenVINO finds, such as ["cpu", "gpu.0"]."""
    return [name.lower() for name in import_openvino().Core().available_devices]


def import_openvino(what: str = "runtime openvino", extra: str = "openvino") -> Any:
    """Return the library; RuntimeUnavailableError where it is not installed.

    By itself it sends an event to an analytics server whenever it is imported. It does not where
    its package for that is missing, so here that package is.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_library("openvino", what, extra)


def _pick(core: Any, device: str) -> str:
    name = "CPU" if device == "auto" else device.upper()
    present: list[str] = core.available_devices
    # "GPU" stands for the first of "GPU.0" and "GPU.1".
    if name not in present and not any(other.startswith(name + ".") for other in present):
        raise RuntimeUnavailableError(
            f"runtime openvino: expected device {', '.join(present).lower()}, found {device}; a "
            "GPU or NPU needs Intel's driver for it"
        )
    return name


def _is_cpu(name: str) -> bool:
    return name.startswith("CPU")


def _precision(metadata: Metadata, name: str) -> str:
    """Return the type to compute in: a CPU widens an FP16 artifact's weights to f32."""
    return "f16" if metadata.precision == "fp16" and not _is_cpu(name) else "f32"


def _read(core: Any, path: Path) -> tuple[Any, Metadata]:
    try:
        if path.suffix == ".onnx":
            network = core.read_model(read_onnx(path))
        else:
            network = core.read_model(path / XML_FILE if path.is_dir() else path)
    except RuntimeError as error:
        raise ArtifactError(f"{path}: OpenVINO cannot read it: {_last_line(error)}") from error
    metadata = Metadata.from_properties(_properties(network), path)
    inputs = [(port.any_name, port.element_type.to_string()) for port in network.inputs]
    outputs = tuple(port.any_name for port in network.outputs)
    check_signature(path, inputs, outputs, "u8")
    return network, metadata


def _properties(network: Any) -> Mapping[str, str]:
    """Return the halnet.* properties: an IR's own section, or what was metadata of an ONNX file."""
    found: dict[str, str] = {}
    for section, prefix in ((PREFIX.rstrip("."), PREFIX), ("framework", "")):
        if network.has_rt_info(section):
            values: dict[str, Any] = network.get_rt_info(section).value
            found |= {prefix + key: str(_plain(value)) for key, value in values.items()}
    return found


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)


def _batch_limits(network: Any) -> BatchLimits:
    dimension = network.input(INPUT_NAME).partial_shape[0]
    if dimension.is_dynamic:
        return BatchLimits()
    return BatchLimits(dimension.get_length(), dimension.get_length())


def _outputs(request: Any) -> Outputs:
    """Copy what a request found: its memory is used again."""
    return Outputs(*(np.array(request.get_tensor(name).data) for name in OUTPUT_NAMES))


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
