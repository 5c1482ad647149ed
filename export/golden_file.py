"""Golden file: reads a folder of golden vectors, and says whether it belongs to a model.

`export.golden` writes such folders. `docs/specification.md` describes their files.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from halnet.artifact import sha256_artifact
from halnet.errors import ArtifactError, DetectorError
from halnet.faces.alignment import CROP_SIZE, Landmarks, Matrix
from halnet.faces.detected import DetectedFace
from halnet.faces.yunet_engines import OUTPUTS, Heads
from halnet.json_text import parse_json
from halnet.runtimes.backends import describe
from halnet.runtimes.base import Crops, Runtime

GOLDEN_FILE = "golden.json"  # has all numbers, and names the other files
FORMAT = 1  # version of the format of these files
PRECISION = "fp32"  # of the models that golden vectors are made with
CURE = "write it again with halnet export --golden"
# The names of the other files, such as "1.crops.u8". No other name is read, moved or removed.
_NAME = re.compile(r"\d+\.(photo|detector_input|detector_outputs|crops)\.[a-z0-9]{1,5}")
_OUTPUTS = ("age", "stddev", "probabilities")


@dataclass(frozen=True)
class GoldenModel:
    """The model that golden vectors were made with."""

    name: str
    sha256: str  # of the model file
    checkpoint_sha256: str  # of the checkpoint that it was made from
    precision: str  # PRECISION
    input_fingerprint: str
    calibration: Mapping[str, Any]  # the property `halnet.calibration` of the model file


@dataclass(frozen=True, eq=False)
class GoldenFace:
    """A face with its ages, as section 8 of the specification states them."""

    found: DetectedFace  # in pixels of the whole upright photo
    turned: int  # degrees by which the face is turned clockwise; 0 if it is nearly upright
    matrix: Matrix  # 2 x 3, from pixels of the whole upright photo to those of the crop
    age: float  # years
    stddev: float  # years
    probabilities: NDArray[np.float32]  # 101, one for each year from 0 to 100
    intervals: Mapping[str, tuple[float, float]]  # level, such as "0.9": lowest, highest age
    at_least: Mapping[str, float]  # age in years, such as "18": probability of being as old


@dataclass(frozen=True, eq=False)
class GoldenPhoto:
    """A photo and what each step makes of it."""

    name: str
    photo: Path  # the photo file itself
    size: tuple[int, int]  # width and height of the whole upright photo, in pixels
    decoded: Mapping[str, Any]  # scale, width, height and sha256 of what was decoded for detection
    detector_input: Path  # PNG file of what YuNet gets, before it is filled up with black
    outputs: Heads  # of YuNet, by name
    found: tuple[DetectedFace, ...]  # what YuNet finds, in pixels of its input, the largest first
    needs_turning: bool  # whether section 4 of the specification changes what is found
    crops: Crops  # N x 224 x 224 x 3 uint8 RGB
    faces: tuple[GoldenFace, ...]  # N faces, the largest first


@dataclass(frozen=True, eq=False)
class Golden:
    """A folder of golden vectors."""

    folder: Path
    model: GoldenModel
    tolerances: Mapping[str, Mapping[str, float]]
    photos: tuple[GoldenPhoto, ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return what a folder holds, after the size and the SHA-256 of each file were checked.

        Raises ArtifactError if the folder or one of its files is missing, damaged, or written by
        another version of the format.
        """
        content = _read_content(folder)
        path = folder / GOLDEN_FILE
        try:
            return cls(
                folder,
                GoldenModel(**content["model"]),
                {name: dict(limits) for name, limits in content["tolerances"].items()},
                tuple(_read_photo(folder, photo) for photo in content["photos"]),
            )
        except (DetectorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{path}: damaged ({error!r}); {CURE}") from error

    def check_model(self, model: Path) -> None:
        """Raise ArtifactError unless the vectors belong to a model file, of any format.

        They do if they were made with this file, or if both were made from the same checkpoint.
        """
        metadata = describe(model).metadata
        known = self.model.sha256, self.model.checkpoint_sha256
        digest = metadata.checkpoint_sha256 or sha256_artifact(model)
        if digest not in known and sha256_artifact(model) not in known:
            raise ArtifactError(
                f"{self.folder}: expected golden vectors of {model}, which was made from the "
                f"checkpoint with SHA-256 {digest[:12]}..., found those of {self.model.name}, "
                f"whose checkpoint has {self.model.checkpoint_sha256[:12]}...; write them with "
                "halnet export CHECKPOINT --golden, from its checkpoint, or name another folder"
            )
        fingerprint = metadata.input.fingerprint()
        if fingerprint != self.model.input_fingerprint:
            raise ArtifactError(
                f"{self.folder}: expected crops with the input fingerprint {fingerprint}, as "
                f"{model} takes them, found {self.model.input_fingerprint}; {CURE}"
            )

    def check_ages(self, runtime: Runtime) -> None:
        """Raise ArtifactError unless a model gives the golden ages for the golden crops.

        The tolerance is that of its precision. The model is not asked where it comes from; see
        `check_model`.
        """
        limits = self.tolerances[f"model_{runtime.spec.metadata.precision}"]
        for photo in self.photos:
            if not photo.faces:
                continue
            outputs = runtime.run(photo.crops)
            for name in _OUTPUTS:
                expected = np.array([getattr(face, name) for face in photo.faces])
                difference = float(np.abs(getattr(outputs, name) - expected).max())
                if not difference <= limits[name]:
                    raise ArtifactError(
                        f"{self.folder}: {photo.name}: expected the golden {name} within "
                        f"{limits[name]:g}, found that {runtime.spec.model} differs by "
                        f"{difference:.6g}; export the checkpoint again"
                    )


def list_files(folder: Path) -> list[Path]:
    """Return the files that the vectors of a folder consist of, or nothing if it has none.

    Raises ArtifactError if the file that lists them is damaged.
    """
    if not (folder / GOLDEN_FILE).exists():
        return []
    content = _read_content(folder)
    try:
        entries = [entry for photo in content["photos"] for entry in photo["files"].values()]
        return [folder / GOLDEN_FILE, *(_path(folder, entry["name"]) for entry in entries)]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{folder / GOLDEN_FILE}: damaged ({error!r}); delete it, and {CURE}"
        ) from error


def _read_content(folder: Path) -> dict[str, Any]:
    path = folder / GOLDEN_FILE
    try:
        content = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{folder}: expected a folder of golden vectors with {GOLDEN_FILE}, found none; write "
            "one with halnet export --golden"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: damaged ({error}); delete it, and {CURE}") from error
    found = content.get("golden_format") if isinstance(content, dict) else None
    if found is None:
        raise ArtifactError(
            f"{path}: expected golden vectors of halnet, found another JSON file; name the folder "
            "that halnet export --golden wrote"
        )
    if found != FORMAT:
        raise ArtifactError(
            f"{path}: expected format {FORMAT} of golden vectors, found {found}; use the version "
            f"of halnet that wrote it, or {CURE}"
        )
    return dict(content)


def _read_photo(folder: Path, photo: Mapping[str, Any]) -> GoldenPhoto:
    files = photo["files"]
    data = {kind: _read_file(folder, entry) for kind, entry in files.items()}
    faces = tuple(_read_face(face) for face in photo["faces"])
    crops = np.frombuffer(data["crops"], np.uint8).reshape(-1, CROP_SIZE, CROP_SIZE, 3).copy()
    if len(crops) != len(faces):
        raise ValueError(f"{len(faces)} faces, {len(crops)} crops")
    return GoldenPhoto(
        str(photo["name"]),
        _path(folder, files["photo"]["name"]),
        (int(photo["size"][0]), int(photo["size"][1])),
        dict(photo["decoded"]),
        _path(folder, files["detector_input"]["name"]),
        {
            name: _read_output(data["detector_outputs"], photo["detector_outputs"][name])
            for name in OUTPUTS
        },
        tuple(_read_found(found) for found in photo["found"]),
        bool(photo["needs_turning"]),
        crops,
        faces,
    )


def _read_file(folder: Path, entry: Mapping[str, Any]) -> bytes:
    """Return the content of a file; ArtifactError if it is not the one that was written."""
    path = _path(folder, entry["name"])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}; {CURE}") from error
    if len(data) != entry["bytes"]:
        raise ArtifactError(
            f"{path}: expected {entry['bytes']:,} bytes, found {len(data):,}; {CURE}"
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry["sha256"]:
        raise ArtifactError(
            f"{path}: expected the SHA-256 {entry['sha256'][:12]}..., found {digest[:12]}...; "
            f"{CURE}"
        )
    return data


def _path(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a file of golden vectors")
    return folder / name


def _read_output(data: bytes, entry: Mapping[str, Any]) -> NDArray[np.float32]:
    shape = tuple(int(side) for side in entry["shape"])
    count = int(np.prod(shape))
    return np.frombuffer(data, "<f4", count, int(entry["offset"])).reshape(shape).copy()


def _read_found(values: Mapping[str, Any]) -> DetectedFace:
    return DetectedFace(tuple(values["box"]), _landmarks(values), values["score"])


def _landmarks(values: Mapping[str, Any]) -> Landmarks:
    return np.array(values["landmarks"], np.float32)


def _read_face(values: Mapping[str, Any]) -> GoldenFace:
    matrix = np.array(values["matrix"], np.float64)
    probabilities = np.array(values["probabilities"], np.float32)
    if matrix.shape != (2, 3) or probabilities.shape != (101,):
        raise ValueError(f"shapes {matrix.shape} and {probabilities.shape}")
    return GoldenFace(
        _read_found(values),
        int(values["turned"]),
        matrix,
        float(values["age"]),
        float(values["stddev"]),
        probabilities,
        {level: (float(low), float(high)) for level, (low, high) in values["intervals"].items()},
        {years: float(chance) for years, chance in values["at_least"].items()},
    )
