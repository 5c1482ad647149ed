"""Products of the roof: matrices that are multiplied by what is installed here.

The libraries that run models multiply them, because that is what a model can reach with them.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.errors import RuntimeUnavailableError
from halnet.packages import import_library, import_onnxruntime, import_openvino
from halnet.processor import cpu_flags
from halnet.signal_stack import kept_signal_stack

FP32, BF16, INT8 = PRECISIONS = ("fp32", "bf16", "int8")
# Instructions that multiply in bfloat16, as /proc/cpuinfo of x86 and Arm names them. OpenVINO
# offers bfloat16 without them too, and then computes in float32.
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
KERNEL_ENDINGS = {FP32: "f32", BF16: "bf16", INT8: "i8"}  # of the kernels that OpenVINO names
MIN_RUNS = 3

Product = Callable[[], float]  # computes one product of two matrices, and returns its seconds
# Takes a precision, the rows and columns of the matrices and a number of threads. Returns a product
# and what computes it. Raises UnmeasuredError.
Way = Callable[[str, int, int], tuple[Product, str]]


class UnmeasuredError(Exception):
    """A product cannot be measured in a way. The message is the reason."""


def shortest(run: Callable[[], float], seconds: float) -> float:
    """Return the shortest time of several runs: what else the machine does only adds to it."""
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < MIN_RUNS or time.perf_counter() < end:
        times.append(run())
    return min(times)


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """Return a function that calls another one and returns how many seconds it took."""

    def measure() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return measure


@kept_signal_stack()
def multiply_by_openvino(precision: str, side: int, threads: int) -> tuple[Product, str]:
    """Multiply with OpenVINO, which states the kernel. In INT8, it quantizes a matrix as well."""
    try:
        ov = import_openvino()
    except RuntimeUnavailableError as error:
        raise UnmeasuredError(str(error)) from error
    if precision == BF16 and not BF16_FLAGS & cpu_flags():
        raise UnmeasuredError("this processor has no instructions that multiply in BF16")
    config = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == BF16 else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERF_COUNT": True,
    }
    network = _openvino_network(ov, precision, side)
    request = ov.Core().compile_model(network, "CPU", config).create_infer_request()
    request.get_input_tensor().data[:] = 0  # numbers that are not normal would be slow
    request.infer()
    kernel = max(request.get_profiling_info(), key=lambda node: node.real_time).exec_type
    if not kernel.lower().endswith(KERNEL_ENDINGS[precision]):
        raise UnmeasuredError(f"OpenVINO computes such a product by {kernel}")
    return timed(request.infer), f"OpenVINO {ov.get_version().split('-')[0]} ({kernel})"


def _openvino_network(ov: Any, precision: str, side: int) -> Any:
    from openvino import opset13 as ops

    kind = ov.Type.bf16 if precision == BF16 else ov.Type.f32
    matrix = ops.parameter([side, side], kind)
    data, weights = matrix, ops.convert(ops.constant(random_matrix((side, side))), kind)
    if precision == INT8:  # unsigned times signed, as in the models that halnet exports
        low, high = ops.constant(np.float32(0)), ops.constant(np.float32(1))
        data = ops.fake_quantize(matrix, low, high, low, high, 256)
        whole = ops.convert(ops.constant(random_int8((side, side))), kind)
        weights = ops.multiply(whole, ops.constant(np.float32(1 / 128)))
    return ov.Model([ops.matmul(data, weights, False, True)], [matrix], "product")


def multiply_by_onnxruntime(precision: str, side: int, threads: int) -> tuple[Product, str]:
    """Multiply with ONNX Runtime. The time includes what every inference of it takes."""
    if precision == BF16:
        raise UnmeasuredError("ONNX Runtime multiplies no matrices in BF16 on CPUs")
    try:
        ort = import_onnxruntime()
        model = onnx_product(precision, side)
    except RuntimeUnavailableError as error:
        raise UnmeasuredError(str(error)) from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    matrix = random_matrix((side, side))
    data = {"a": (matrix * 255).astype(np.uint8) if precision == INT8 else matrix}
    multiply = timed(lambda: session.run(None, data))
    return multiply, f"ONNX Runtime {ort.__version__} ({_operator(precision)})"


def _operator(precision: str) -> str:
    return "MatMulInteger" if precision == INT8 else "MatMul"


def onnx_product(precision: str, side: int) -> bytes:
    """Return an ONNX model that multiplies its input by a constant matrix."""
    onnx = import_library("onnx", "measuring with ONNX Runtime", "export")
    from onnx import TensorProto, helper, numpy_helper

    is_int8 = precision == INT8
    weights = random_int8((side, side)) if is_int8 else random_matrix((side, side))
    kinds = (TensorProto.UINT8, TensorProto.INT32) if is_int8 else (TensorProto.FLOAT,) * 2
    matrix, result = (
        helper.make_tensor_value_info(name, kind, [side, side])
        for name, kind in zip("ac", kinds, strict=True)
    )
    node = helper.make_node(_operator(precision), ["a", "b"], ["c"])
    constants = [numpy_helper.from_array(weights, "b")]
    graph = helper.make_graph([node], "product", [matrix], [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = min(model.ir_version, 10)  # which each ONNX Runtime that halnet runs reads
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def multiply_by_numpy(precision: str, side: int, threads: int) -> tuple[Product, str]:
    """Multiply in float32 with as many threads as numpy's library takes by itself."""
    del precision, threads
    left, right = (random_matrix((side, side)) for _ in range(2))
    by = f"numpy {np.__version__} ({left.dtype}, with its own number of threads)"
    return timed(lambda: left @ right), by


def random_matrix(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return numbers from 0 to 1."""
    return np.random.default_rng(0).random(shape, np.float32)


def random_int8(shape: tuple[int, int]) -> NDArray[np.int8]:
    """Return whole numbers from -127 to 127."""
    return np.random.default_rng(0).integers(-127, 128, shape, np.int8)
