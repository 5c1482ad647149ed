"""The back end OpenVINO: it runs `*_openvino_model/` and `.onnx` artifacts on CPU, GPU or NPU."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, PREFIX, Metadata
from halnet.cores import thread_count
from halnet.errors import RuntimeUnavailableError
from halnet.packages import import_openvino
from halnet.results import Outputs, join_outputs
from halnet.runtimes.base import (
    BatchLimits,
    Crops,
    RuntimeBase,
    RuntimeOptions,
    RuntimeSpec,
    check_signature,
    library_errors,
)
from halnet.runtimes.onnx_file import read_onnx
from halnet.signal_stack import kept_signal_stack

XML_FILE = "halnet.xml"  # name of the graph in a folder; the weights are in halnet.bin
LAST = -1  # the line of an error of OpenVINO that states the reason


class OpenVINORuntime(RuntimeBase):
    """A model that OpenVINO has compiled for one device. Several threads may share it.

    It computes in the precision of the artifact. By default, OpenVINO would use bf16 or f16 on some
    devices, which changes the ages. In the mode "throughput", the crops of a call are divided among
    as many requests as OpenVINO recommends for the device.
    """

    @kept_signal_stack()
    def _open(self, model: str | Path, options: RuntimeOptions) -> None:
        ov = import_openvino()
        core = ov.Core()
        name = _choose_device(core, options.device)
        network, metadata = read_network(core, Path(model))
        config = compile_config(name, _precision(metadata, name), options)
        with library_errors(model, f"OpenVINO cannot compile it for {name}", LAST):
            self._compiled: Any = core.compile_model(network, name, config)
        self._queue: Any = (
            ov.AsyncInferQueue(self._compiled) if options.mode == "throughput" else None
        )
        self._lock = threading.Lock()
        self.spec = RuntimeSpec(
            "openvino",
            ov.get_version().split("-")[0],
            name,
            self._compiled.get_property("INFERENCE_NUM_THREADS") // options.calls
            if _is_cpu(name)
            else 0,
            str(model),
            metadata,
            _batch_limits(network),
            options.mode,
        )

    def close(self) -> None:
        """Release the compiled model."""
        super().close()
        self._compiled = self._queue = None

    def _infer(self, crops: Crops) -> Outputs:
        with library_errors(
            self.spec.model, f"OpenVINO cannot run it on {self.spec.provider}", LAST
        ):
            if self._queue is not None and self.spec.batch_limits.minimum == 1:
                return self._infer_queue(crops)
            # Each call has its own request, because calls may come from several threads.
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


def compile_config(device: str, precision: str, options: RuntimeOptions) -> dict[str, Any]:
    """Return the properties that a model is compiled with. `precision` is f32 or f16."""
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": options.mode.upper(),
        "INFERENCE_PRECISION_HINT": precision,
    }
    if _is_cpu(device):
        config["INFERENCE_NUM_THREADS"] = thread_count(options.threads) * options.calls
        if options.calls > 1:  # otherwise, one call would wait for the other
            config["NUM_STREAMS"] = options.calls
    return config


def devices() -> list[str]:
    """Return the devices that OpenVINO finds, such as ["cpu", "gpu.0"]."""
    return [name.lower() for name in import_openvino().Core().available_devices]


def _choose_device(core: Any, device: str) -> str:
    name = "CPU" if device == "auto" else device.upper()
    present: list[str] = core.available_devices
    # "GPU" stands for the first of "GPU.0" and "GPU.1".
    if name not in present and not any(other.startswith(name + ".") for other in present):
        raise RuntimeUnavailableError(
            f"runtime openvino: expected device {', '.join(present).lower()}, found {device}; "
            "for a GPU or NPU, install Intel's driver"
        )
    return name


def _is_cpu(name: str) -> bool:
    return name.startswith("CPU")


def _precision(metadata: Metadata, name: str) -> str:
    """Return the type to compute in. A CPU converts the weights of an FP16 artifact to f32."""
    return "f16" if metadata.precision == "fp16" and not _is_cpu(name) else "f32"


def read_network(core: Any, path: Path) -> tuple[Any, Metadata]:
    """Return the `ov.Model` of an artifact and its metadata. `core` is an `ov.Core`.

    `path` is an ONNX file, the folder of an IR or its XML file. Raises ArtifactError if it is
    damaged or no artifact.
    """
    # The weights are copied into memory. Otherwise, if their file is overwritten, they would change
    # or the process would end.
    core.set_property({"ENABLE_MMAP": False})
    with library_errors(path, "OpenVINO cannot read it", LAST):
        if path.suffix == ".onnx":
            network = core.read_model(read_onnx(path))
        else:
            network = core.read_model(path / XML_FILE if path.is_dir() else path)
        metadata = Metadata.from_properties(_properties(network), path)
        inputs = [(port.any_name, port.element_type.to_string()) for port in network.inputs]
        outputs = tuple(port.any_name for port in network.outputs)
    check_signature(path, inputs, outputs, "u8")
    return network, metadata


def _properties(network: Any) -> Mapping[str, str]:
    """Return the halnet.* properties, from a section of an IR or the metadata of an ONNX file."""
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
    """Return a copy of the outputs of a request, which uses its memory again."""
    return Outputs(*(np.array(request.get_tensor(name).data) for name in OUTPUT_NAMES))
