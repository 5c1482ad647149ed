"""TensorRT: builds an engine from a traced network and writes it with a sidecar file.

TensorRT for RTX builds engines ahead of time, also on a machine without a GPU. The full TensorRT
builds for the GPU of the machine.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from halnet.artifact import INPUT_NAME, Metadata
from halnet.errors import ArtifactError, ConfigError
from halnet.export.config import Target
from halnet.export.zero_points import check_zero_points
from halnet.faces.alignment import CROP_SIZE
from halnet.runtimes.cuda import pick_gpu
from halnet.runtimes.sidecar import Sidecar, sidecar_path
from halnet.runtimes.trt import import_tensorrt

trt: Any = import_tensorrt()

WORKSPACE = 1 << 30  # bytes
# Compute capabilities that TensorRT for RTX builds for: Turing (SM75), Ampere (SM80 and SM86), Ada
# (SM89) and Blackwell (SM120). Turing supports no FP32 matrix product there.
CAPABILITIES = {
    "fp32": ("SM80", "SM86", "SM89", "SM120"),
    "fp16": ("SM75", "SM80", "SM86", "SM89", "SM120"),
    "int8": ("SM80", "SM86", "SM89", "SM120"),  # layers kept in floating point are FP32
}
SOME_PRECISIONS = {name for names in CAPABILITIES.values() for name in names}


class _Logger(trt.ILogger):  # type: ignore[misc]
    """Collects TensorRT's errors, which are reported in no other way."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        """Keep a message if it is an error."""
        if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
            self.errors.append(message)


def write_tensorrt(proto: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Build an engine from a traced network and write it with its sidecar.

    Raises ArtifactError with TensorRT's own message where it refuses the graph, and ConfigError for
    a compute capability that it does not support.
    """
    check_zero_points(proto)
    data = proto.SerializeToString()
    logger = _Logger()
    builder = trt.Builder(logger)
    network = builder.create_network()
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(data):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise ArtifactError(f"{path.name}: TensorRT cannot read this graph: {reasons}")
    options = builder.create_builder_config()
    options.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    batches = _add_profile(builder, options, network, target.batches)
    requested = target.capabilities or CAPABILITIES[metadata.precision]
    capabilities = _set_capabilities(options, requested)
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


def check_target(target: Target, precisions: Sequence[str]) -> None:
    """Raise ConfigError for compute capabilities for which no engine of a precision can be built.

    The full TensorRT ignores their names: it builds for the GPU of this machine.
    """
    names = target.capabilities
    if not hasattr(trt, "ComputeCapability"):
        return
    _find_capabilities(names)
    for precision in precisions:
        only = [name for name in names if name in SOME_PRECISIONS - {*CAPABILITIES[precision]}]
        if only:
            raise ConfigError(
                f"capability {', '.join(only)}: expected one of "
                f"{', '.join(CAPABILITIES[precision])} for {precision}; leave out --precision "
                f"{precision}, or name another --capability"
            )


def _add_profile(
    builder: Any, options: Any, network: Any, batches: tuple[int, int, int]
) -> tuple[int, int, int]:
    """Set the minimum, optimal and maximum batch size, and return them.

    A graph with a fixed batch size keeps it: all three are then equal to it.
    """
    fixed: int = network.get_input(0).shape[0]
    if fixed != -1:
        return fixed, fixed, fixed
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT_NAME, *((n, CROP_SIZE, CROP_SIZE, 3) for n in batches))
    options.add_optimization_profile(profile)
    return batches


def _set_capabilities(options: Any, names: tuple[str, ...]) -> tuple[str, ...]:
    """Set the compute capabilities to build for, and return them.

    The full TensorRT builds only for the capability of the GPU of this machine.
    """
    if not hasattr(options, "num_compute_capabilities"):
        return (pick_gpu("auto", "tensorrt").architecture,)
    options.num_compute_capabilities = len(names)
    for index, capability in enumerate(_find_capabilities(names)):
        options.set_compute_capability(capability, index)
    return names


def _find_capabilities(names: Sequence[str]) -> list[Any]:
    """Return TensorRT's values for the names of capabilities; ConfigError for an unknown name."""
    known = {n: v for n, v in trt.ComputeCapability.__members__.items() if n.startswith("SM")}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"capability {', '.join(unknown)}: expected one of {', '.join(known)}, which "
            f"{trt.__name__} {trt.__version__} builds for"
        )
    return [known[name] for name in names]
