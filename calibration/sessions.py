"""Sessions: graphs run in ONNX Runtime on the CPU, while they are measured and compared."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import onnxruntime
from onnx import helper

from halnet.artifact import INPUT_NAME
from halnet.runtimes.base import Crops

AgeFunction = Callable[[Crops], Any]  # N x 224 x 224 x 3 uint8 RGB crops to N ages in years
Opener = Callable[[Any, int | None], AgeFunction]  # of a graph, run with so many threads; None: all


def open_session(proto: Any, threads: int | None = None) -> Any:
    """Return an `InferenceSession` of a graph, quiet but for errors."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def open_age_function(proto: Any, threads: int | None = None) -> AgeFunction:
    """Return a function that runs a graph."""
    session = open_session(proto, threads)
    return lambda crops: session.run(["age"], {INPUT_NAME: crops})[0]


def with_outputs(proto: Any, names: Sequence[str]) -> Any:
    """Return a copy of a graph that gives the named tensors instead of its outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return copy


def batch_size(proto: Any, free: int) -> int:
    """Return how many crops a graph takes; `free` where it takes any number."""
    fixed: int = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    return fixed or free
