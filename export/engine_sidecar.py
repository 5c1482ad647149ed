"""Engine sidecar: describes an engine that another program, such as trtexec, built."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from halnet.artifact import sha256_file
from halnet.errors import ArtifactError
from halnet.export.config import Target
from halnet.export.served_model import FREE, read_by_onnx
from halnet.files import write_text
from halnet.runtimes.cuda import pick_gpu
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
    model = read_by_onnx(config.model.stem, config.model)
    batch = model.inputs[0].shape[0]
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
        batches=config.batches if batch == FREE else (batch, batch, batch),
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        onnx_sha256=sha256_file(config.model),
        properties=model.metadata.to_properties(),
    )
    path = sidecar_path(config.engine)
    write_text(path, sidecar.to_json())
    return path
