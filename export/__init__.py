"""Export: a checkpoint to deployable artifacts.

To add a format, write a file beside this one with a function (checkpoint, path) that leaves one
artifact at the path, and give it a line in `FORMATS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from halnet.artifact import bundled, sha256_file
from halnet.errors import ConfigError
from halnet.manifest import check_manifest, record_artifact


@dataclass(frozen=True)
class Format:
    """One line of the table of formats."""

    module: str  # below halnet.export
    function: str  # in it: (checkpoint, path)
    file_names: dict[str, str]  # precision: name of the artifact
    packages: tuple[str, ...]  # whose versions the manifest states


FORMATS = {
    "onnx": Format(
        "to_onnx", "export_onnx", {"fp32": "halnet.onnx"}, ("torch", "onnx", "onnxscript")
    ),
}


@dataclass(frozen=True)
class ExportConfig:
    """What to export, and where to."""

    checkpoint: Path | None = None  # None: the one that comes with the package
    format: str = "onnx"
    precision: str = "fp32"
    out: Path = Path("deploy")

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(f"format {self.format}: expected one of {', '.join(FORMATS)}")
        precisions = FORMATS[self.format].file_names
        if self.precision not in precisions:
            raise ConfigError(
                f"precision {self.precision}: format {self.format} has {', '.join(precisions)}"
            )


@dataclass(frozen=True)
class Exported:
    """What an export left."""

    path: Path
    size: int  # bytes
    sha256: str
    manifest: Path


def export(config: ExportConfig) -> Exported:
    """Export a checkpoint and note the artifact in the folder's `manifest.json`.

    The artifact takes its place only when it is whole: what was there before stays otherwise.
    Raises ArtifactError for a checkpoint that cannot be read.
    """
    target = FORMATS[config.format]
    checkpoint = config.checkpoint or bundled("halnet.safetensors")
    path = config.out / target.file_names[config.precision]
    check_manifest(path)  # before the artifact is replaced
    write: Callable[[Path, Path], Any] = getattr(
        import_module(f"halnet.export.{target.module}"), target.function
    )
    write(checkpoint, path)
    manifest = record_artifact(path, config.format, config.precision, checkpoint, target.packages)
    return Exported(path, path.stat().st_size, sha256_file(path), manifest)
