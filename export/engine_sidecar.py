"""Engine sidecar: describes an engine that another program, such as trtexec, built."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from halnet.artifact import Metadata
from halnet.errors import ArtifactError
from halnet.export.config import Target
from halnet.files import write_text
from halnet.runtimes.base import check_signature, library_errors
from halnet.runtimes.cuda import pick_gpu
from halnet.runtimes.onnx_file import read_onnx
from halnet.runtimes.sidecar import Sidecar, sidecar_path
from halnet.runtimes.trt import import_tensorrt


@dataclass(frozen=True)
class SidecarConfig:
    """Which engine is described, and the artifact that it was built from."""

    engine: Path
    model: Path  # the ONNX artifact
    batches: tuple[int, int, int] = Target.batches  # minimum, optimal and maximum batch size


def write_sidecar(config: SidecarConfig) -> Path:
    """Write the sidecar of an engine that was built on this machine, and return its path.

    The library and the GPU of this machine are those that it states. The batch sizes are not used
    if the artifact has a fixed one.

    Raises ArtifactError if there is no engine, or for an ONNX file that is no artifact, and
    RuntimeUnavailableError if TensorRT or a GPU is missing.
    """
    trt = import_tensorrt()
    capability = pick_gpu("auto", "tensorrt").architecture
    data = read_onnx(config.model)
    with library_errors(config.model, "onnx cannot read it"):
        model = onnx.load_model_from_string(data)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    Metadata.from_properties(properties, config.model)
    _check(model, config.model)
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    try:
        engine = config.engine.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{config.engine}: expected an engine that was built from {config.model.name}: "
            f"{error.strerror}"
        ) from error
    sidecar = Sidecar(
        library=trt.__name__,
        version=trt.__version__,
        capabilities=(capability,),
        batches=(fixed, fixed, fixed) if fixed else config.batches,
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        onnx_sha256=hashlib.sha256(data).hexdigest(),
        properties=properties,
    )
    path = sidecar_path(config.engine)
    write_text(path, sidecar.to_json())
    return path


def _check(model: Any, path: Path) -> None:
    """Raise ArtifactError unless the graph has the input and the outputs of an artifact."""
    kinds = onnx.TensorProto.DataType
    inputs = [
        (value.name, kinds.Name(value.type.tensor_type.elem_type)) for value in model.graph.input
    ]
    check_signature(path, inputs, tuple(value.name for value in model.graph.output), "UINT8")
