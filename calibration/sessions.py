"""Sessions: run graphs in ONNX Runtime on the CPU while they are measured and compared."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnxruntime
from onnx import helper

from halnet.artifact import INPUT_NAME
from halnet.cores import thread_count
from halnet.runtimes.base import Crops

# Takes N x 224 x 224 x 3 uint8 RGB crops and returns N ages in years.
AgeFunction = Callable[[Crops], Any]
# Takes a graph and a number of threads (None: one for each usable core).
Opener = Callable[[Any, int | None], AgeFunction]


def open_session(proto: Any, threads: int | None = None) -> Any:
    """Return an `InferenceSession` of an ONNX model, which prints nothing but errors."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = thread_count(threads)
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def open_age_function(proto: Any, threads: int | None = None) -> AgeFunction:
    """Return a function that runs an ONNX model and returns its ages."""
    session = open_session(proto, threads)
    return lambda crops: session.run(["age"], {INPUT_NAME: crops})[0]


def with_outputs(proto: Any, names: Sequence[str]) -> Any:
    """Return a copy of an ONNX model whose outputs are the named tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return copy


def batch_size(proto: Any, free: int) -> int:
    """Return the batch size of an ONNX model, or `free` where it takes any batch size."""
    fixed: int = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return fixed or free
