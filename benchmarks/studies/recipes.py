"""The INT8 recipes that the study `int8_recipes` compares: ours, and the defaults of two libraries.

A recipe writes one artifact of the bundled checkpoint for each runtime.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from halnet.artifact import Metadata
from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.crops import pick_calibration_crops
from halnet.calibration.quantizer import CropReader
from halnet.calibration.validation_photos import ValidationPhotos
from halnet.export import FORMATS
from halnet.export.config import Int8Config, Target
from halnet.export.int8 import Int8
from halnet.export.samples import find_samples
from halnet.export.to_onnx import write_onnx
from halnet.export.to_openvino import save_openvino, write_openvino
from halnet.network.checkpoint import Checkpoint
from halnet.packages import import_library, import_openvino
from halnet.runtimes.base import Crops

NNCF_PHOTOS = 300  # NNCF's default number of photos
ONNX_NAME, OPENVINO_NAME = (FORMATS[name].file_names["int8"] for name in ("onnx", "openvino"))
WRITERS = {"onnxruntime": (ONNX_NAME, write_onnx), "openvino": (OPENVINO_NAME, write_openvino)}


@dataclass(frozen=True)
class Source:
    """What every recipe starts from."""

    checkpoint: Checkpoint
    folder: Path  # of the prepared dataset
    photos: ValidationPhotos  # of that dataset
    proto: Any  # traced FP32 graph, an ONNX model
    metadata: Metadata  # of an INT8 artifact
    threads: int | None  # number of threads for each runtime; None: one for each core

    def crops(self, wanted: int = Int8Config().crops) -> Crops:
        """Return the crops of at most so many photos, N x 224 x 224 x 3 uint8 RGB."""
        return pick_calibration_crops(self.photos, wanted).crops

    def meter(self) -> AgeShiftMeter:
        """Return a meter that uses all validation photos."""
        records = self.photos.records
        return AgeShiftMeter(self.proto, self.photos.crops(records), records)

    def int8(self, **changes: Any) -> Int8:
        """Return the quantizer of `halnet export --precision int8`, with changed options."""
        options = {"data": (self.folder,), "threads": self.threads}
        config = Int8Config(**options | changes)
        samples = find_samples(config, self.checkpoint, lambda line: click.echo(line, err=True))
        return Int8(config, samples, self.proto, lambda line: click.echo(line, err=True))


@dataclass(frozen=True)
class RecipeArtifact:
    """An artifact that a recipe wrote."""

    path: Path
    runtime: str  # that runs it
    kept: int | None = None  # number of layers kept in floating point; None: not chosen


@dataclass(frozen=True)
class Recipe:
    """A row of the table for each runtime."""

    name: str
    write: Callable[[Source, Path], Sequence[RecipeArtifact]]  # writes into the folder


def _write_fp32(source: Source, folder: Path) -> Sequence[RecipeArtifact]:
    metadata = replace(source.metadata, precision="fp32")
    exported = _write(source.proto, metadata, folder)
    return [RecipeArtifact(source.checkpoint.path, "pytorch"), *exported]


def _write_onnxruntime_defaults(source: Source, folder: Path) -> Sequence[RecipeArtifact]:
    import onnx
    from onnxruntime.quantization import quantize_static

    full, path = folder / "full.onnx", folder / ONNX_NAME
    onnx.save(source.proto, full)
    quantize_static(full, path, CropReader(source.crops()))
    write_onnx(onnx.load(path), source.metadata, path, Target())
    return [RecipeArtifact(path, "onnxruntime")]


def _write_nncf_defaults(source: Source, folder: Path) -> Sequence[RecipeArtifact]:
    model = import_openvino().Core().read_model(source.proto.SerializeToString())
    nncf = import_library("nncf", "the recipe of NNCF", "dev")
    quantized = nncf.quantize(model, nncf.Dataset(source.crops(NNCF_PHOTOS), _to_batch))
    save_openvino(quantized, source.metadata, folder / OPENVINO_NAME)
    return [RecipeArtifact(folder / OPENVINO_NAME, "openvino")]


def _to_batch(crop: Any) -> Any:
    return crop[None]


def _write_ours(
    scheme: str = "unsigned", runtimes: Sequence[str] = tuple(WRITERS), **changes: Any
) -> Callable[[Source, Path], Sequence[RecipeArtifact]]:
    """Return a function that writes what `halnet export` writes with changed options."""

    def write(source: Source, folder: Path) -> Sequence[RecipeArtifact]:
        int8 = source.int8(**changes)
        written: list[RecipeArtifact] = []
        for runtime in runtimes:
            proto, entry = int8.quantize(scheme, runtime, folder)
            written += _write(proto, source.metadata, folder, len(entry["kept"]), (runtime,))
        return written

    return write


def _write(
    proto: Any,
    metadata: Metadata,
    folder: Path,
    kept: int | None = None,
    runtimes: Sequence[str] = tuple(WRITERS),
) -> list[RecipeArtifact]:
    """Write a graph for each of the runtimes."""
    written = []
    for runtime in runtimes:
        name, write = WRITERS[runtime]
        write(proto, metadata, folder / name, Target())
        written.append(RecipeArtifact(folder / name, runtime, kept))
    return written


RECIPES = (
    Recipe("FP32", _write_fp32),
    Recipe(
        "naive: ONNX Runtime's defaults (min-max, per tensor)",
        _write_onnxruntime_defaults,
    ),
    Recipe("naive: NNCF's defaults", _write_nncf_defaults),
    Recipe("ours, no layer kept in floating point", _write_ours(keep=())),
    Recipe("ours", _write_ours()),
    Recipe(
        "ours, symmetric (what TensorRT gets)",
        _write_ours("symmetric", ("onnxruntime",)),
    ),
    Recipe("ours, without photos", _write_ours(data=())),
)
