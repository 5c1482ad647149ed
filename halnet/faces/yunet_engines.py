"""Engines: the libraries that can compute YuNet, the fastest of those installed first.

ONNX Runtime and OpenVINO compute YuNet several times as fast as OpenCV, which is always there. All
of them compute in 32-bit floating point. Their results differ by rounding only.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.cores import thread_count
from halnet.errors import ConfigError, DetectorError, HalnetError
from halnet.packages import import_onnxruntime, import_openvino, is_installed
from halnet.photos.images import quiet_opencv
from halnet.signal_stack import kept_signal_stack

Blob = NDArray[np.float32]  # 1 x 3 x H x W BGR from 0 to 255; H and W are multiples of 32
Heads = dict[str, NDArray[np.float32]]  # the outputs of YuNet by name, such as "cls_8"

STRIDES = (8, 16, 32)  # pixels between the places at which each group of outputs looks for faces
OUTPUTS = tuple(f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in STRIDES)


class Engine(Protocol):
    """Computes YuNet. Several threads may share it."""

    name: str  # of the library
    survives_fork: bool  # whether it can be opened again in a forked process

    def __call__(self, blob: Blob) -> Heads:
        """Return the outputs of YuNet. Each is 1 x N x K, with N = (H / stride) * (W / stride)."""
        ...


class _OnnxRuntime:
    name, survives_fork = "onnxruntime", True

    def __init__(self, model: bytes, threads: int) -> None:
        ort = import_onnxruntime("face detection")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = ort.InferenceSession(
            free_sizes(model), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, blob: Blob) -> Heads:
        found = self._session.run(OUTPUTS, {"input": blob})
        return dict(zip(OUTPUTS, found, strict=True))


class _OpenVino:
    name, survives_fork = "openvino", False

    @kept_signal_stack()
    def __init__(self, model: bytes, threads: int) -> None:
        core = import_openvino("face detection").Core()
        network = core.read_model(model)
        network.reshape([1, 3, -1, -1])
        streams = max(1, thread_count(None) // threads)  # calls that are made at the same time
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": streams * threads,
            "NUM_STREAMS": streams,
        }
        self._compiled = core.compile_model(network, "CPU", config)

    def __call__(self, blob: Blob) -> Heads:
        # Each call has its own request, because calls may come from several threads.
        request = self._compiled.create_infer_request()
        request.infer([blob])
        return {name: np.array(request.get_tensor(name).data) for name in OUTPUTS}


class _OpenCv:
    name, survives_fork = "opencv", True

    def __init__(self, model: bytes, threads: int) -> None:
        del threads  # OpenCV has one number of threads for the whole process
        with quiet_opencv():  # OpenCV 5 warns of a default that it sets itself
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
        self._lock = threading.Lock()

    def __call__(self, blob: Blob) -> Heads:
        with self._lock:
            self._net.setInput(blob)
            found: Sequence[Any] = self._net.forward(OUTPUTS)
        return {
            name: np.array(values).reshape(1, -1, values.shape[-1])
            for name, values in zip(OUTPUTS, found, strict=True)
        }


ENGINES: dict[str, Callable[[bytes, int], Engine]] = {
    "onnxruntime": _OnnxRuntime,
    "openvino": _OpenVino,
    "opencv": _OpenCv,
}


def open_engine(model: bytes, name: str = "auto", threads: int | None = None) -> Engine:
    """Return the engine `name` with the model file of YuNet in it, or the first that is installed.

    `threads` is the number of threads; None: one for each usable core. OpenCV has one number of
    threads for the whole process instead. Raises ConfigError for an unknown name,
    RuntimeUnavailableError if the library is missing, and DetectorError if it cannot load YuNet.
    """
    if name == "auto":
        name = next(name for name in ENGINES if name == "opencv" or is_installed(name))
    elif name not in ENGINES:
        raise ConfigError(f"engine: expected auto or one of {', '.join(ENGINES)}, found {name}")
    try:
        return ENGINES[name](model, thread_count(threads))
    except HalnetError:
        raise
    except Exception as error:
        raise DetectorError(f"YuNet cannot be loaded by {name}: {error}".splitlines()[0]) from error


# Messages in the ONNX format: type(tensor(float32)), with the shape 1 x 3 x any x any or without.
_ANY_TYPE = bytes((0x0A, 2, 8, 1))
_INPUT_SHAPE = bytes((0x0A, 2, 8, 1, 0x0A, 2, 8, 3, 0x0A, 0, 0x0A, 0))
_INPUT_TYPE = bytes((0x0A, 4 + len(_INPUT_SHAPE), 8, 1, 0x12, len(_INPUT_SHAPE))) + _INPUT_SHAPE
_GRAPH, _INPUT, _OUTPUT, _VALUES, _NAME, _TYPE = 7, 11, 12, 13, 1, 2  # numbers of fields
_TEXT = 2  # the kind of a field that has a length


def free_sizes(model: bytes) -> bytes:
    """Return the ONNX file of YuNet for pictures of any size; it states 640 x 640.

    The sizes of the input, of the outputs and of what lies between are taken out. Nothing in the
    graph depends on them. This needs no library for ONNX files, which edge devices lack. The fields
    of the file are those of the ONNX format [onnx.proto] in the encoding of protocol buffers.
    """
    return b"".join(
        _field(number, _free_graph(content)) if number == _GRAPH else raw
        for number, content, raw in _fields(model)
    )


def _free_graph(graph: bytes) -> bytes:
    types = {_INPUT: _INPUT_TYPE, _OUTPUT: _ANY_TYPE}
    parts = []
    for number, content, raw in _fields(graph):
        if number in types:
            names = (part for n, _, part in _fields(content) if n == _NAME)
            parts.append(_field(number, b"".join(names) + _field(_TYPE, types[number])))
        elif number != _VALUES:
            parts.append(raw)
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the number, the content and all bytes of each field of a message."""
    start = 0
    while start < len(message):
        tag, end = _read_varint(message, start)
        content = end
        if tag & 7 == _TEXT:
            length, content = _read_varint(message, end)
            end = content + length
        else:
            _, end = _read_varint(message, end)
        yield tag >> 3, message[content:end], message[start:end]
        start = end


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _TEXT) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _read_varint(message: bytes, start: int) -> tuple[int, int]:
    """Return a number that is stored in groups of 7 bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[start]
        value |= (byte & 127) << shift
        start, shift = start + 1, shift + 7
        if byte < 128:
            return value, start
