"""Golden vectors: each step of the way from photos to ages, as files for tests in any language.

`docs/specification.md` describes the way and the files. `export.golden_file` reads them.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from halnet import __version__
from halnet.ages import LEGAL_AGE, LEVEL
from halnet.artifact import bundled, sha256_artifact
from halnet.errors import ConfigError
from halnet.export.golden_file import FORMAT, GOLDEN_FILE, PRECISION, GoldenModel, list_files
from halnet.faces.alignment import CROP_SIZE, TEMPLATE, similarity
from halnet.faces.detected import DetectedFace, shrink
from halnet.faces.photo_view import PhotoView
from halnet.faces.upright import UprightDetector
from halnet.faces.yunet import FaceDetector
from halnet.faces.yunet_engines import OUTPUTS, Heads, open_engine
from halnet.faces.yunet_file import YUNET_NAME, YUNET_SHA256, yunet_path
from halnet.faces.yunet_output import to_blob
from halnet.files import write_text
from halnet.packages import installed_version
from halnet.photos.image_formats import HEAD, find_format
from halnet.photos.images import Image, OpenedPhoto, open_photo
from halnet.placing import check_target, placed, staging
from halnet.results import Ages
from halnet.runtimes.backends import BACKENDS, open_model
from halnet.runtimes.base import Runtime, RuntimeOptions

PORTRAIT = "portrait.jpg"  # the photo that comes with halnet
LEVELS = (0.5, LEVEL)  # of the intervals
AT_LEAST = (13, 16, LEGAL_AGE, 21, 25)  # years: the probabilities of being as old or older
PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 9)  # the smallest files
# The largest differences that an implementation may have at each step, if it starts the step from
# the golden values of the step before. docs/specification.md says where each number comes from.
TOLERANCES: dict[str, dict[str, float]] = {
    "decoded": {"max": 0, "mean": 0},  # levels of 0 to 255
    "detector_input": {"max": 1, "mean": 0.1},  # levels
    "detector_outputs": {"max": 0.001},  # as they are
    "found": {"box": 0.05, "landmarks": 0.05, "score": 0.0005},  # pixels of the detector's input
    # Shares of the width of the box. Where the way up was searched, a look is magnified.
    "faces": {"box": 0.001, "landmarks": 0.001, "score": 0.0005},
    "faces_turned": {"box": 0.02, "landmarks": 0.02, "score": 0.01},
    "matrix": {"max": 0.001},  # pixels of the crop, for each place inside the photo
    "crops": {"max": 6, "mean": 0.4},  # levels
    # Years and probabilities, for the golden crops, by the precision of the model.
    "model_fp32": {"age": 0.001, "stddev": 0.001, "probabilities": 0.00002},
    "model_fp16": {"age": 0.1, "stddev": 0.1, "probabilities": 0.002},
    "model_int8": {"age": 4.0, "stddev": 2.0, "probabilities": 0.1},
    "intervals": {"years": 0.0001},
    "at_least": {"probability": 0.000001},
    # The age in FP32 for a photo, if all steps are those of the implementation.
    "whole_way": {"age": 0.25},  # years
}


@dataclass(frozen=True)
class GoldenConfig:
    """What golden vectors are made of, and the folder for them."""

    out: Path
    model: Path | None = None  # a model file in FP32; None: the model that comes with halnet
    photos: tuple[Path, ...] = ()  # empty: the portrait that comes with halnet
    detector: Path | None = None  # local YuNet file; None: see `yunet_path`
    threads: int | None = None  # of the model and of YuNet; None: one for each core


@dataclass(frozen=True)
class WrittenPhoto:
    """What was found in one photo."""

    name: str
    ages: tuple[float, ...]  # years, of the faces from the largest to the smallest
    needs_turning: bool  # whether the way up of a face was searched


@dataclass(frozen=True)
class WrittenGolden:
    """Golden vectors that were written."""

    folder: Path
    model: str  # name of the model file
    photos: tuple[WrittenPhoto, ...]
    bytes: int  # of all files together

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "folder": str(self.folder)}


def write_golden(
    config: GoldenConfig, on_step: Callable[[str], None] = lambda line: None
) -> WrittenGolden:
    """Write golden vectors, all files of the folder or none; earlier ones there are replaced.

    The model runs on the CPU. `on_step` is called with a line before each photo.

    Raises ConfigError for a model that is not in FP32 and for a folder that cannot be written,
    ImageError for a photo that cannot be read, ArtifactError for a damaged model and for a folder
    whose `golden.json` is damaged, DetectorError if there is no YuNet file, and
    RuntimeUnavailableError if no runtime is installed.
    """
    check_target(config.out / GOLDEN_FILE)
    old = list_files(config.out)
    photos = list(dict.fromkeys(config.photos or (bundled(PORTRAIT),)))
    opened = [(path, open_photo(path)) for path in photos]  # a bad photo is found before the work
    with open_model(config.model, RuntimeOptions(device="cpu", threads=config.threads)) as runtime:
        if runtime.spec.metadata.precision != PRECISION:
            raise ConfigError(
                f"{runtime.spec.model}: golden vectors need a model in {PRECISION}, found "
                f"{runtime.spec.metadata.precision}; name the checkpoint, or its export in "
                f"{PRECISION}. The vectors are for its exports in other precisions too"
            )
        with staging(config.out, "writing of golden vectors") as stage:
            writer = _Writer(stage, runtime, config)
            written = []
            for number, (path, photo) in enumerate(opened, 1):
                on_step(f"following {path.name} through all steps")
                written.append(writer.write(number, path, photo))
            model = writer.write_json()
            staged = sorted(stage.iterdir())
            size = sum(file.stat().st_size for file in staged)
            moves = [(file, config.out / file.name) for file in staged]
            targets = {target for _, target in moves}
            with placed(moves, [path for path in old if path not in targets]):
                pass
    return WrittenGolden(config.out, model.name, tuple(written), size)


class _Decodes:
    """Keeps the pixels of a photo that were decoded last, and their scale."""

    def __init__(self, photo: OpenedPhoto) -> None:
        self._photo = photo
        self.scale, self.image = 0, np.empty((0, 0, 3), np.uint8)

    def view(self) -> PhotoView:
        """Return a view of the photo that decodes through this object."""
        return PhotoView(OpenedPhoto(self._photo.sides, self._photo.scales, self._decode))

    def _decode(self, scale: int) -> Image:
        self.scale, self.image = scale, self._photo.decode(scale)
        return self.image


class _Writer:
    """Writes the files of all photos into a folder."""

    def __init__(self, folder: Path, runtime: Runtime, config: GoldenConfig) -> None:
        self._folder = folder
        self._runtime = runtime
        path = yunet_path(config.detector)
        self._engine = open_engine(path.read_bytes(), threads=config.threads)
        self._find = FaceDetector(path, threads=config.threads)
        self._detect = UprightDetector(self._find)
        self._photos: list[dict[str, Any]] = []

    def write(self, number: int, path: Path, photo: OpenedPhoto) -> WrittenPhoto:
        """Write the files of one photo, whose names begin with its number."""
        decodes = _Decodes(photo)
        view = decodes.view()
        faces = view.detect(self._detect)
        decoded, scale = decodes.image, decodes.scale
        small = shrink(decoded)
        found = self._find(small)
        needs_turning = not _are_equal(found, self._detect(small))
        heads = self._engine(to_blob(small))
        crops = np.empty((0, CROP_SIZE, CROP_SIZE, 3), np.uint8)
        if faces:
            crops = view.crops([face.landmarks for face in faces])
        described, ages = self._describe_faces(faces, crops)
        data = path.read_bytes()
        png = cv2.imencode(".png", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), PNG_OPTIONS)[1]
        values, layout = _join_heads(heads)
        self._photos.append(
            {
                "name": path.name,
                "size": view.size,
                "files": {
                    "photo": self._write(f"{number}.photo.{find_format(data[:HEAD])}", data),
                    "detector_input": self._write(f"{number}.detector_input.png", png.tobytes()),
                    "detector_outputs": self._write(f"{number}.detector_outputs.f32", values),
                    "crops": self._write(f"{number}.crops.u8", crops.tobytes()),
                },
                "decoded": {"scale": scale, **_describe_pixels(decoded)},
                "detector_input": _describe_pixels(small),
                "detector_outputs": layout,
                "found": [_describe_found(face) for face in found],
                "needs_turning": needs_turning,
                "crops": {"scale": decodes.scale, "shape": crops.shape},
                "faces": described,
            }
        )
        return WrittenPhoto(path.name, ages, needs_turning)

    def _describe_faces(
        self, faces: Sequence[DetectedFace], crops: Image
    ) -> tuple[list[dict[str, Any]], tuple[float, ...]]:
        """Return what the file states about each face, and the ages in years."""
        if not faces:
            return [], ()
        outputs = self._runtime.run(crops)
        ages = Ages(
            outputs.age,
            outputs.stddev,
            outputs.probabilities,
            self._runtime.spec.metadata.calibration,
        )
        intervals = {str(level): np.column_stack(ages.interval(level)) for level in LEVELS}
        chances = {str(years): ages.probability(at_least=years) for years in AT_LEAST}
        described = [
            {
                **_describe_found(face),
                "turned": face.turned,
                "matrix": similarity(face.landmarks.astype(np.float64), TEMPLATE).tolist(),
                "age": float(ages.age[i]),
                "stddev": float(ages.stddev[i]),
                "probabilities": ages.probabilities[i].tolist(),
                "intervals": {level: values[i].tolist() for level, values in intervals.items()},
                "at_least": {years: float(values[i]) for years, values in chances.items()},
            }
            for i, face in enumerate(faces)
        ]
        return described, tuple(round(float(age), 2) for age in ages.age)

    def write_json(self) -> GoldenModel:
        """Write the file with the numbers of all photos, and return what it says of the model."""
        spec = self._runtime.spec
        metadata = spec.metadata
        path = Path(spec.model)
        model = GoldenModel(
            path.name,
            sha256_artifact(path),
            metadata.checkpoint_sha256,
            metadata.precision,
            metadata.input.fingerprint(),
            metadata.calibration.to_dict(),
        )
        library = BACKENDS[spec.runtime].library or ""
        versions = {"halnet": __version__, "opencv": cv2.__version__, "numpy": np.__version__}
        versions |= {name: installed_version(name) or "" for name in (library,) if name}
        content = {
            "golden_format": FORMAT,
            "specification": "docs/specification.md",
            "versions": versions,
            "model": asdict(model),
            "detector": {"name": YUNET_NAME, "sha256": YUNET_SHA256},
            "tolerances": TOLERANCES,
            "photos": self._photos,
        }
        write_text(self._folder / GOLDEN_FILE, json.dumps(content, indent=1) + "\n")
        return model

    def _write(self, name: str, data: bytes) -> dict[str, Any]:
        """Write a file, and return its name, size and hash."""
        name = name.lower()
        (self._folder / name).write_bytes(data)
        return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _describe_pixels(image: Image) -> dict[str, Any]:
    """Return the size of H x W x 3 uint8 RGB pixels, and the SHA-256 of their bytes."""
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
    return {"width": image.shape[1], "height": image.shape[0], "sha256": digest}


def _describe_found(face: DetectedFace) -> dict[str, Any]:
    return {"box": face.box, "landmarks": face.landmarks.tolist(), "score": face.score}


def _are_equal(first: Sequence[DetectedFace], second: Sequence[DetectedFace]) -> bool:
    return len(first) == len(second) and all(
        a.box == b.box and np.array_equal(a.landmarks, b.landmarks)
        for a, b in zip(first, second, strict=True)
    )


def _join_heads(heads: Heads) -> tuple[bytes, dict[str, Any]]:
    """Return the outputs of YuNet as little-endian bytes, and where each of them is."""
    data, layout = b"", {}
    for name in OUTPUTS:
        values = np.ascontiguousarray(heads[name], "<f4")
        layout[name] = {"offset": len(data), "shape": values.shape}
        data += values.tobytes()
    return data, layout
