"""Fakes of TensorRT and CUDA, in the memory of the host."""

import ctypes
import hashlib
import sys
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from halnet.runtimes import cuda
from halnet.runtimes.cuda import Gpu
from halnet.runtimes.fake import FakeRuntime
from halnet.runtimes.sidecar import Sidecar, sidecar_path

ENGINE = b"an engine"
PROFILE = (1, 2, 4)  # minimum, optimal and maximum batch size; the tests have more crops
COPY, COMPUTE = 1.0, 10.0  # milliseconds of the device for one copy, and for one inference
SHAPES = {"image": (224, 224, 3), "age": (), "stddev": (), "probabilities": (101,)}


class FakeCuda(ModuleType):
    """Stands for cuda.bindings.runtime. Every call returns (status, value)."""

    def __init__(self) -> None:
        super().__init__("cuda.bindings.runtime")
        self.memory: dict[int, Any] = {}
        self.streams: set[int] = set()
        self._numbers = count(7)
        self.chosen: list[int] = []
        self.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
        self.status = 0  # what allocations return
        self.events: dict[int, float] = {}  # events that exist: when each was recorded, in ms
        self.time = 0.0  # of the device, in ms

    def _allocate(self, size: int) -> tuple[int, int]:
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return self.status, ctypes.addressof(block)

    cudaMalloc = cudaMallocHost = _allocate  # noqa: N815

    def _free(self, address: int) -> tuple[int]:
        del self.memory[address]  # KeyError: freed twice, or never allocated
        return (0,)

    cudaFree = cudaFreeHost = _free  # noqa: N815

    def cudaSetDevice(self, index: int) -> tuple[int]:  # noqa: N802
        self.chosen.append(index)
        return (0,)

    def cudaStreamCreate(self) -> tuple[int, int]:  # noqa: N802
        self.streams.add(next(self._numbers))
        return 0, max(self.streams)

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:  # noqa: N802
        self.streams.remove(stream)
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:  # noqa: N802
        assert stream in self.streams
        return (0,)

    def cudaEventCreate(self) -> tuple[int, int]:  # noqa: N802
        event = next(self._numbers)
        self.events[event] = -1.0
        return 0, event

    def cudaEventRecord(self, event: int, stream: int) -> tuple[int]:  # noqa: N802
        assert stream in self.streams
        self.events[event] = self.time
        return (0,)

    def cudaEventElapsedTime(self, first: int, second: int) -> tuple[int, float]:  # noqa: N802
        assert 0 <= self.events[first] <= self.events[second]
        return 0, self.events[second] - self.events[first]

    def cudaEventDestroy(self, event: int) -> tuple[int]:  # noqa: N802
        del self.events[event]  # KeyError: destroyed twice, or never created
        return (0,)

    def cudaMemcpyAsync(  # noqa: N802
        self, to: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[int]:
        assert stream in self.streams
        assert kind in (1, 2)
        for address in (to, source):
            assert size <= len(self.memory[address])
        ctypes.memmove(to, source, size)
        self.time += COPY
        return (0,)


class FakeContext:
    """Computes what FakeRuntime computes, on the memory at the given addresses."""

    def __init__(self, calls: list[int], cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()
        self.calls = calls

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "image"
        self.shape = tuple(shape)
        return PROFILE[0] <= shape[0] <= PROFILE[2]

    def execute_async_v3(self, stream: int) -> bool:
        assert isinstance(stream, int)
        count = self.shape[0]
        self.calls.append(count)
        self.cuda.time += COMPUTE
        outputs = FakeRuntime().run(self._array("image", np.uint8).copy())
        for name in ("age", "stddev", "probabilities"):
            self._array(name, np.float32)[:] = getattr(outputs, name)[:count]
        return True

    def _array(self, name: str, dtype: Any) -> np.ndarray:
        shape = (self.shape[0], *SHAPES[name])
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        block = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(block, np.uint8).view(dtype).reshape(shape)


class FakeEngine:
    """Has the tensors of an artifact."""

    num_io_tensors = 4

    def __init__(self, trt: "FakeTensorRT") -> None:
        self._trt = trt

    def get_tensor_name(self, index: int) -> str:
        return tuple(SHAPES)[index]

    def get_tensor_dtype(self, name: str) -> str:
        return self._trt.dtypes.get(name, "float")

    def create_runtime_config(self) -> SimpleNamespace:
        return SimpleNamespace(cuda_graph_strategy=None)

    def create_execution_context(self, settings: SimpleNamespace) -> FakeContext:
        self._trt.settings.append(settings)
        return FakeContext(self._trt.calls, self._trt.cuda)


class FakeTensorRT(ModuleType):
    """Stands for tensorrt_rtx, with what is needed to run an engine."""

    __version__ = "9.8.7"

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__("tensorrt_rtx")
        self.cuda = cuda
        self.calls: list[int] = []  # crops of each execution
        self.settings: list[SimpleNamespace] = []
        self.dtypes = {"image": "uint8"}
        self.DataType = SimpleNamespace(UINT8="uint8", FLOAT="float")
        self.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
        self.refuse = False

        class Logger:
            ERROR = 1

            def __init__(self, severity: int) -> None:
                assert severity == self.ERROR

        self.Logger = Logger

    def Runtime(self, logger: Any) -> SimpleNamespace:  # noqa: N802
        assert isinstance(logger, self.Logger)
        return SimpleNamespace(deserialize_cuda_engine=self._load)

    def _load(self, data: bytes) -> FakeEngine | None:
        return FakeEngine(self) if data == ENGINE and not self.refuse else None


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Replace TensorRT, CUDA and the GPUs by fakes."""
    driver = FakeCuda()
    found = SimpleNamespace(trt=FakeTensorRT(driver), cuda=driver, copy=COPY, compute=COMPUTE)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", found.trt)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", ModuleType("cuda.bindings"))
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", found.cuda)
    gpus = [Gpu(0, "GPU of the tests", (8, 6)), Gpu(1, "another", (7, 5))]
    monkeypatch.setattr(cuda, "find_gpus", lambda: gpus)
    return found


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Return an engine file for the fakes, with its sidecar."""
    path = tmp_path / "halnet.engine"
    path.write_bytes(ENGINE)
    sidecar = Sidecar(
        library="tensorrt_rtx",
        version=FakeTensorRT.__version__,
        capabilities=("SM86", "SM89"),
        batches=PROFILE,
        engine_sha256=hashlib.sha256(ENGINE).hexdigest(),
        onnx_sha256="cd" * 32,
        properties=FakeRuntime().spec.metadata.to_properties(),
    )
    sidecar_path(path).write_text(sidecar.to_json())
    return path
