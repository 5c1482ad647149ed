"""TensorRT: an engine built from the strongly typed ONNX graph, with a sidecar that says for what.

TensorRT for RTX builds engines ahead of time, without a GPU; the full TensorRT builds for the GPU
of the machine.
"""

import hashlib
from pathlib import Path
from typing import Any

import onnx

from halnet.alignment import CROP_SIZE
from halnet.artifact import INPUT_NAME, Metadata
from halnet.errors import ArtifactError, ConfigError
from halnet.export.config import Target
from halnet.runtimes.cuda import pick_gpu
from halnet.runtimes.sidecar import Sidecar, sidecar_path
from halnet.runtimes.trt import import_tensorrt

WORKSPACE = 1 << 30  # bytes
# What TensorRT for RTX builds for: Turing, Ampere (twice), Ada and Blackwell. Turing has no FP32
# matrix product there.
CAPABILITIES = {
    "fp32": ("SM80", "SM86", "SM89", "SM120"),
    "fp16": ("SM75", "SM80", "SM86", "SM89", "SM120"),
    "int8": ("SM80", "SM86", "SM89", "SM120"),  # what stays in floating point is FP32
}


def write_tensorrt(proto: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Build an engine of a traced network and write it with its sidecar.

    Raises ArtifactError with the parser's words where TensorRT refuses the graph.
    """
    trt = import_tensorrt()
    check_quantization(proto)
    data = proto.SerializeToString()
    logger = _make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network()
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(data):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise ArtifactError(f"{path.name}: TensorRT cannot take this graph: {reasons}")
    options = builder.create_builder_config()
    options.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    batches = _add_profile(builder, options, network, target.batches)
    wanted = target.capabilities or CAPABILITIES[metadata.precision]
    capabilities = _set_capabilities(trt, options, wanted)
    plan = builder.build_serialized_network(network, options)
    if plan is None:
        raise ArtifactError(
            f"{path.name}: TensorRT {trt.__version__} built no engine for "
            f"{', '.join(capabilities)}: {'; '.join(logger.errors)}"
        )
    engine = bytes(plan)
    sidecar = Sidecar(
        library=trt.__name__,
        version=trt.__version__,
        capabilities=capabilities,
        batches=batches,
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        onnx_sha256=hashlib.sha256(data).hexdigest(),
        properties=metadata.to_properties(),
    )
    path.write_bytes(engine)
    sidecar_path(path).write_text(sidecar.to_json(), encoding="utf-8")


def _make_logger(trt: Any) -> Any:
    """Return a logger that keeps TensorRT's errors, which come by no other way."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


def check_quantization(proto: Any) -> None:
    """Raise ArtifactError for Q/DQ that TensorRT would take for something else.

    It knows int8 with zero point 0 alone; uint8 or an omitted zero point is read as int8 without a
    word, and saturates.
    """
    points = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        point = points.get(node.input[2]) if len(node.input) > 2 else None
        kind = "none" if point is None else onnx.TensorProto.DataType.Name(point.data_type)
        if point is None or kind != "INT8" or onnx.numpy_helper.to_array(point).any():
            raise ArtifactError(
                f"node {node.name}: expected an int8 zero point of 0, found "
                f"{kind if kind != 'INT8' else 'another'}; quantize symmetrically for TensorRT"
            )


def _add_profile(
    builder: Any, options: Any, network: Any, batches: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Add the range of batches, where the graph leaves it open; return what it will take."""
    fixed: int = network.get_input(0).shape[0]
    if fixed != -1:
        return fixed, fixed, fixed
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT_NAME, *((n, CROP_SIZE, CROP_SIZE, 3) for n in batches))
    options.add_optimization_profile(profile)
    return batches


def _set_capabilities(trt: Any, options: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Set the GPUs to build for; return them. The full TensorRT builds for the one that is here."""
    if not hasattr(options, "num_compute_capabilities"):
        return (pick_gpu("auto", "tensorrt").architecture,)
    known = {n: v for n, v in trt.ComputeCapability.__members__.items() if n.startswith("SM")}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"capability {', '.join(unknown)}: {trt.__name__} {trt.__version__} builds for "
            f"{', '.join(known)}"
        )
    options.num_compute_capabilities = len(names)
    for index, name in enumerate(names):
        options.set_compute_capability(known[name], index)
    return names
