"""The back end TensorRT: it runs `.engine` files on NVIDIA GPUs.

It supports TensorRT for RTX and the full TensorRT. An engine is loaded only if its sidecar shows
that it was built for this version of the library and this GPU.
"""

import ctypes
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import AGES
from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, Metadata
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.faces.alignment import CROP_SIZE
from halnet.packages import import_library
from halnet.results import Outputs
from halnet.runtimes.base import (
    BatchLimits,
    Crops,
    RuntimeBase,
    RuntimeOptions,
    RuntimeSpec,
)
from halnet.runtimes.cuda import Gpu, find_gpus, pick_gpu
from halnet.runtimes.sidecar import LIBRARIES, Sidecar, sidecar_path


class TensorRTRuntime(RuntimeBase):
    """An engine on one GPU. Several threads may share it; their calls take turns."""

    def _open(self, model: str | Path, options: RuntimeOptions) -> None:
        path = Path(model)
        sidecar = Sidecar.read(path)
        metadata = Metadata.from_properties(sidecar.properties, sidecar_path(path))
        trt = import_tensorrt(sidecar.library)
        if trt.__version__ != sidecar.version:
            raise ArtifactError(
                f"{path}: expected {sidecar.library} {sidecar.version}, which built the engine, "
                f"found {trt.__version__}; export the checkpoint again"
            )
        gpu = pick_gpu(options.device, "tensorrt")
        _check_capability(path, sidecar, gpu)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sidecar.engine_sha256:
            raise ArtifactError(
                f"{path}: expected the engine that {sidecar_path(path).name} describes, found "
                "another one, which is not loaded because it contains native code; export the "
                "checkpoint again"
            )
        cuda = import_library("cuda.bindings.runtime", "runtime tensorrt", "tensorrt-rtx")
        with _loading(path):
            _check(cuda.cudaSetDevice(gpu.index))
            self._logger = trt.Logger(trt.Logger.ERROR)
            self._runtime = trt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise ArtifactError(
                f"{path}: {sidecar.library} {sidecar.version} refused the engine on {gpu.name}; "
                "export the checkpoint again on this machine"
            )
        _check_signature(trt, self._engine, path)
        self._context = _context(trt, self._engine)
        minimum, _, maximum = sidecar.batches
        self._buffers: _Buffers | None = _Buffers(cuda, self._context, gpu.index, maximum)
        self._clock = self._buffers.clock
        self._lock = threading.Lock()
        self.spec = RuntimeSpec(
            "tensorrt",
            f"{trt.__version__} ({sidecar.library})",
            f"{gpu.device} ({gpu.name})",
            0,
            str(model),
            metadata,
            BatchLimits(minimum, maximum),
            options.mode,
        )

    def close(self) -> None:
        """Release the engine and the memory of the GPU."""
        super().close()
        if self._buffers is not None:
            if not self.is_forked:  # CUDA does not work in a forked process
                self._buffers.free()
            self._buffers = self._clock = None
            self._context = self._engine = self._runtime = None

    def _infer(self, crops: Crops) -> Outputs:
        with self._lock:
            self.check_open()
            assert self._buffers is not None
            return self._buffers.run(crops, self._mark)


class _Clock:
    """The clock of the GPU, read by events in the stream of all operations."""

    def __init__(self, cuda: Any, stream: Any) -> None:
        self._cuda, self._stream = cuda, stream

    def mark(self) -> Any:
        """Return an event that the GPU passes when the work before it is done."""
        event = _Event(self._cuda)
        _check(self._cuda.cudaEventRecord(event.handle, self._stream))
        return event

    def between(self, first: "_Event", second: "_Event") -> float:
        """Return the milliseconds between two events that the GPU has passed."""
        return float(_check(self._cuda.cudaEventElapsedTime(first.handle, second.handle)))


class _Event:
    """A CUDA event, which is destroyed with this object."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self.handle = _check(cuda.cudaEventCreate())

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._cuda.cudaEventDestroy(self.handle)


class _Buffers:
    """The memory for the largest batch, on host and device, and the stream of all operations."""

    def __init__(self, cuda: Any, context: Any, gpu: int, maximum: int) -> None:
        self._cuda, self._context, self._gpu = cuda, context, gpu
        self._stream = _check(cuda.cudaStreamCreate())
        self.clock = _Clock(cuda, self._stream)
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            INPUT_NAME: ((maximum, CROP_SIZE, CROP_SIZE, 3), np.uint8),
            "age": ((maximum,), np.float32),
            "stddev": ((maximum,), np.float32),
            "probabilities": ((maximum, len(AGES)), np.float32),
        }
        self._host: dict[str, NDArray[Any]] = {}
        self._pinned: dict[str, int] = {}
        self._device: dict[str, int] = {}
        for name, (shape, dtype) in shapes.items():
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            self._pinned[name] = int(_check(cuda.cudaMallocHost(size)))
            self._host[name] = _array_at(self._pinned[name], size).view(dtype).reshape(shape)
            self._device[name] = int(_check(cuda.cudaMalloc(size)))
            context.set_tensor_address(name, self._device[name])

    def run(self, crops: Crops, mark: Callable[[], None]) -> Outputs:
        """Copy the crops to the device, run the engine, and copy the outputs back.

        `mark` is called at each of the moments in `halnet.runtimes.device_clock.MARKS`.
        """
        cuda, count = self._cuda, len(crops)
        _check(cuda.cudaSetDevice(self._gpu))  # each thread has its own current device
        self._host[INPUT_NAME][:count] = crops
        mark()
        self._copy(INPUT_NAME, count, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)
        if not self._context.set_input_shape(INPUT_NAME, crops.shape):
            raise ArtifactError(
                f"TensorRT refused a batch of {count} crops, which the engine was not built for; "
                "export the checkpoint again"
            )
        mark()
        if not self._context.execute_async_v3(int(self._stream)):
            raise RuntimeUnavailableError(
                "TensorRT could not run the engine; the messages that it printed say why"
            )
        mark()
        for name in OUTPUT_NAMES:
            self._copy(name, count, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost)
        mark()
        _check(cuda.cudaStreamSynchronize(self._stream))
        return Outputs(*(self._host[name][:count].copy() for name in OUTPUT_NAMES))

    def _copy(self, name: str, count: int, kind: Any) -> None:
        ends = [self._device[name], self._pinned[name]]
        if kind == self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost:
            ends.reverse()
        size = self._host[name][:count].nbytes
        _check(self._cuda.cudaMemcpyAsync(*ends, size, kind, self._stream))

    def free(self) -> None:
        """Release all memory and the stream."""
        self._host = {}
        for name, address in self._device.items():
            _check(self._cuda.cudaFree(address))
            _check(self._cuda.cudaFreeHost(self._pinned[name]))
        _check(self._cuda.cudaStreamDestroy(self._stream))


def describe(engine: Path) -> RuntimeSpec:
    """Return the content of the sidecar of an engine. This needs no library and no GPU."""
    sidecar = Sidecar.read(engine)
    return RuntimeSpec(
        "tensorrt",
        f"{sidecar.version} ({sidecar.library})",
        ", ".join(sidecar.capabilities),
        0,
        str(engine),
        Metadata.from_properties(sidecar.properties, sidecar_path(engine)),
        BatchLimits(sidecar.batches[0], sidecar.batches[2]),
    )


def devices() -> list[str]:
    """Return the GPUs, such as ["cuda:0"]; RuntimeUnavailableError if there is none."""
    import_tensorrt()
    try:
        return [gpu.device for gpu in find_gpus()]
    except RuntimeUnavailableError as error:
        raise RuntimeUnavailableError(
            f"TensorRT can build engines here but cannot run them: {error}"
        ) from error


def import_tensorrt(library: str | None = None) -> Any:
    """Import TensorRT and return the module.

    This is `library`, or the first of `LIBRARIES` that is installed. It can be imported without a
    driver. Raises RuntimeUnavailableError if it is missing or cannot be loaded.
    """
    for name in (library,) if library else LIBRARIES:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
        except (ImportError, OSError) as error:
            raise RuntimeUnavailableError(
                f"runtime tensorrt: {name} is installed but cannot be loaded: {error}"
            ) from error
    cure = "pip install tensorrt" if library == "tensorrt" else "pip install 'halnet[tensorrt-rtx]'"
    raise RuntimeUnavailableError(
        f"runtime tensorrt needs {library or LIBRARIES[0]}, which is not installed; {cure}"
    )


def _check_capability(path: Path, sidecar: Sidecar, gpu: Gpu) -> None:
    found = gpu.architecture
    if sidecar.capabilities and found not in sidecar.capabilities:
        raise ArtifactError(
            f"{path}: expected a GPU of {', '.join(sidecar.capabilities)}, found {found} "
            f"({gpu.name}); export the checkpoint with --capability {found}"
        )


def _check_signature(trt: Any, engine: Any, path: Path) -> None:
    expected = {INPUT_NAME: trt.DataType.UINT8, **dict.fromkeys(OUTPUT_NAMES, trt.DataType.FLOAT)}
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {name: engine.get_tensor_dtype(name) for name in names}
    if found != expected:
        raise ArtifactError(
            f"{path}: expected the tensors {expected}, found {found}; export the checkpoint again"
        )


def _context(trt: Any, engine: Any) -> Any:
    """Return the execution context. TensorRT for RTX records a CUDA graph for each batch size."""
    if not hasattr(trt, "CudaGraphStrategy"):
        return engine.create_execution_context()
    settings = engine.create_runtime_config()
    settings.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    return engine.create_execution_context(settings)


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Turn an error of the library into ArtifactError."""
    try:
        yield
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: TensorRT cannot load it: {error}; export the checkpoint again"
        ) from error


def _check(answer: tuple[Any, ...]) -> Any:
    """Return the value of (status, value) from a CUDA call; RuntimeUnavailableError on failure."""
    status, *values = answer
    if int(status):
        raise RuntimeUnavailableError(
            f"runtime tensorrt: a CUDA call failed with {status!r}; check the GPU with nvidia-smi"
        )
    return values[0] if values else None


def _array_at(address: int, size: int) -> NDArray[np.uint8]:
    """Return the `size` bytes of memory at an address as an array, without copying them."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
