"""Artifacts: the metadata that every model file carries, and the hash and size of such files.

A model file does everything after alignment. Its input `image` takes aligned face crops,
N x 224 x 224 x 3 uint8 RGB. Its outputs are float32: `age` and `stddev` (N, years) and
`probabilities` (N x 101, one for each year from 0 to 100). Everything else that a program must know
(input specification, calibration, origin) is in the file as text properties named `halnet.*`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from halnet.ages import AGE_MAX, AGE_MIN, CALIBRATION_KINDS, LEGAL_AGE, AgeCalibration
from halnet.errors import ArtifactError
from halnet.faces.alignment import CROP_SIZE, TEMPLATE
from halnet.faces.yunet_file import YUNET_NAME
from halnet.json_text import parse_json

FORMAT_VERSION = 2  # of the metadata; 1, with a single dataset, is read too
PREFIX = "halnet."
PRECISIONS = ("fp32", "fp16", "int8")
INPUT_NAME = "image"
OUTPUT_NAMES = ("age", "stddev", "probabilities")
# Versions of the way from a photo to its crops. The crops of all of them show the same, and differ
# by less than what two cameras differ by, so that a model takes the crops of each version.
WAYS = {
    1: "all pixels of a photo are decoded",
    2: "a large JPEG is decoded only as large as its faces need it",
}
WAY = max(WAYS)
# The files of artifacts that are folders: of OpenVINO, of a page for browsers, and of Core ML.
OPENVINO_FILES = ("halnet.bin", "halnet.xml")
WEB_MODEL = "halnet.onnx"  # the model of a page
WEB_FILES = (
    *("LICENCES.txt", "alignment.js", "errors.js", "halnet.js", "halnet.json", WEB_MODEL),
    *("intervals.js", "model_file.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    *("ort.wasm.min.mjs", "page.css", "page.js", "photos.js", "start.js", "yunet.js", "yunet.onnx"),
    "index.html",
)
PACKAGE_FILES = (
    "Data/com.apple.CoreML/model.mlmodel",
    "Data/com.apple.CoreML/weights/weight.bin",
    "Manifest.json",
)
WEB_ENDING, PACKAGE_ENDING = "_web", ".mlpackage"  # of the names of the last two
FOLDERS = {WEB_ENDING: WEB_FILES, PACKAGE_ENDING: PACKAGE_FILES}


@dataclass(frozen=True)
class InputSpec:
    """How the crops for a model are made. A model gives wrong ages for crops of another kind."""

    size: int = CROP_SIZE  # pixels: width and height
    layout: str = "NHWC"
    colour: str = "RGB"
    dtype: str = "uint8"
    template: tuple[tuple[float, float], ...] = tuple((float(x), float(y)) for x, y in TEMPLATE)
    detector: str = YUNET_NAME.removesuffix(".onnx")
    way: int = WAY  # version of the way from a photo to its crops, a key of `WAYS`

    def to_json(self) -> str:
        """Return the fields as JSON text. Version 1 of the way is not stated, as in old files."""
        values = asdict(self)
        if self.way == 1:
            del values["way"]
        return json.dumps(values, sort_keys=True)

    def describe(self) -> str:
        """Return the shape, the type and the colour order in words."""
        return f"{self.dtype} N x {self.size} x {self.size} x 3 {self.colour}"

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change if any of the fields changes."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]


INPUT = InputSpec()
KNOWN_INPUTS = {spec.fingerprint(): spec for spec in (replace(INPUT, way=way) for way in WAYS)}


@dataclass(frozen=True)
class TrainedSet:
    """A dataset that a model was trained on."""

    name: str
    split_sha256: str = ""  # SHA-256 of its split file; empty: there is none
    photos: int | None = None  # number of its training photos; None: not known


@dataclass(frozen=True)
class Metadata:
    """The metadata of a model file."""

    calibration: AgeCalibration
    datasets: tuple[TrainedSet, ...] = ()  # that the model was trained on
    reference_mae: dict[str, float] = field(default_factory=dict)  # split name: years, PyTorch FP32
    precision: str = "fp32"  # one of PRECISIONS
    checkpoint_sha256: str = ""  # SHA-256 of the checkpoint file that the artifact was made from
    licence: str = ""  # of the weights, such as an SPDX identifier; empty: not stated
    terms: str = ""  # what the licences of the training photos allow, in words; empty: not stated
    # Errors (predicted minus true age, years) of the calibration photos of minors, in rising order:
    # one tuple for each true age from 0 to 17. Empty: not known.
    minor_errors: tuple[tuple[float, ...], ...] = ()
    input: InputSpec = INPUT
    # Number of bits of the weights of an INT8 model; 8 bits fit the processors that
    # `check_weights` accepts. 0: the model is of another precision, or of an older version (7).
    weight_bits: int = 0

    def __post_init__(self) -> None:
        if len(self.minor_errors) not in (0, LEGAL_AGE):
            raise ValueError(
                f"minor_errors: expected a tuple for each of the ages 0 to {LEGAL_AGE - 1}, or "
                f"none at all, found {len(self.minor_errors)} tuples"
            )

    @property
    def dataset(self) -> str:
        """The names of all datasets, joined by commas."""
        return ", ".join(trained.name for trained in self.datasets)

    @property
    def split_sha256(self) -> str:
        """SHA-256 of the split file of the only dataset; empty if there are several datasets."""
        return self.datasets[0].split_sha256 if len(self.datasets) == 1 else ""

    def to_properties(self) -> dict[str, str]:
        """Return the metadata as the `halnet.*` text properties of a model file, in format 2."""
        values: dict[str, Any] = {
            "format_version": str(FORMAT_VERSION),
            "precision": self.precision,
            "input": self.input.to_json(),
            "input_fingerprint": self.input.fingerprint(),
            "age_range": json.dumps([AGE_MIN, AGE_MAX]),
            "calibration": json.dumps(self.calibration.to_dict(), sort_keys=True),
            "checkpoint_sha256": self.checkpoint_sha256,
            "datasets": json.dumps([asdict(trained) for trained in self.datasets], sort_keys=True),
            "reference_mae": json.dumps(self.reference_mae, sort_keys=True),
            "licence": self.licence,
            "terms": self.terms,
            "minor_errors": json.dumps(self.minor_errors),
            **({"weight_bits": str(self.weight_bits)} if self.weight_bits else {}),
        }
        return {PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str | Path) -> Self:
        """Return the metadata that the text properties of the file `source` contain.

        The properties are those of format 2, or of format 1, which older versions of the library
        wrote. Raises ArtifactError if they are missing or damaged, or if this version of the
        library does not know their format, the kind of crops that the model takes, or the kind of
        its calibration.
        """
        version = properties.get(PREFIX + "format_version")
        if version is None:
            raise ArtifactError(
                f"{source}: expected a HAL-Net model, found no halnet.* metadata; "
                "make a model with halnet export"
            )
        if version not in ("1", str(FORMAT_VERSION)):
            raise ArtifactError(
                f"{source}: expected format version 1 or {FORMAT_VERSION}, found {version}; use "
                "the version of halnet that exported the model, or export the checkpoint again "
                "with this version"
            )
        try:
            spec = _read_input(properties, source)
            age_range = parse_json(properties[PREFIX + "age_range"])
            if age_range != [AGE_MIN, AGE_MAX]:
                raise ArtifactError(
                    f"{source}: expected ages {AGE_MIN} to {AGE_MAX}, found {age_range}; export "
                    "the checkpoint again with this version of halnet"
                )
            precision = properties[PREFIX + "precision"]
            if precision not in PRECISIONS:
                raise ArtifactError(
                    f"{source}: expected one of the precisions {', '.join(PRECISIONS)}, found "
                    f"{precision}; export the checkpoint again with this version of halnet"
                )
            return cls(
                calibration=_read_calibration(properties, source),
                datasets=_read_datasets(properties),
                reference_mae=dict(parse_json(properties[PREFIX + "reference_mae"])),
                precision=precision,
                checkpoint_sha256=properties[PREFIX + "checkpoint_sha256"],
                licence=properties.get(PREFIX + "licence", ""),
                terms=properties.get(PREFIX + "terms", ""),
                minor_errors=tuple(
                    tuple(float(error) for error in errors)
                    for errors in parse_json(properties.get(PREFIX + "minor_errors", "[]"))
                ),
                input=spec,
                weight_bits=int(properties.get(PREFIX + "weight_bits", "0")),
            )
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{source}: the halnet.* metadata is damaged ({error!r}); export the checkpoint "
                "again"
            ) from error


def _read_calibration(properties: Mapping[str, str], source: str | Path) -> AgeCalibration:
    """Return the calibration; ArtifactError if this library does not know its kind."""
    values = parse_json(properties.get(PREFIX + "calibration", "null"))
    if values is None:
        raise ArtifactError(
            f"{source}: expected a model whose intervals are calibrated, found no calibration in "
            "its metadata; export the checkpoint again with this version of halnet"
        )
    kind = values.get("kind", CALIBRATION_KINDS[0])
    if kind not in CALIBRATION_KINDS:
        raise ArtifactError(
            f"{source}: expected one of the calibrations {', '.join(CALIBRATION_KINDS)}, found "
            f"{kind}; use the version of halnet that exported the model"
        )
    return AgeCalibration.from_dict(values)


def _read_datasets(properties: Mapping[str, str]) -> tuple[TrainedSet, ...]:
    """Return the datasets of format 2, or the only one of format 1.

    Raises KeyError, ValueError or TypeError if they are missing or damaged.
    """
    if properties[PREFIX + "format_version"] == "1":
        names = properties[PREFIX + "dataset"], properties[PREFIX + "split_sha256"]
        return (TrainedSet(*names),)
    return tuple(
        TrainedSet(
            str(entry["name"]),
            str(entry["split_sha256"]),
            None if entry["photos"] is None else int(entry["photos"]),
        )
        for entry in parse_json(properties[PREFIX + "datasets"])
    )


def _read_input(properties: Mapping[str, str], source: str | Path) -> InputSpec:
    """Return the input specification; ArtifactError if this library does not make such crops."""
    fingerprint = properties[PREFIX + "input_fingerprint"]
    stated = json.dumps(parse_json(properties[PREFIX + "input"]), sort_keys=True)
    spec = KNOWN_INPUTS.get(fingerprint)
    if spec is None or stated != spec.to_json():
        raise ArtifactError(
            f"{source}: expected crops with the input fingerprint {' or '.join(KNOWN_INPUTS)}, "
            f"found {fingerprint}; this version of halnet makes other crops, for which the model "
            "gives wrong ages: use the version of halnet that exported it"
        )
    return spec


def bundled(name: str) -> Path:
    """Return the path of a file that is installed with the package, such as `halnet.onnx`."""
    return Path(str(files("halnet") / "assets" / name))


CHECKPOINTS = ("halnet", "halnet-accurate")  # names of the checkpoints in the package


def find_model(model: str | Path) -> Path:
    """Return the path of a model, which is named by a path or by a name in `CHECKPOINTS`."""
    return bundled(f"{model}.safetensors") if str(model) in CHECKPOINTS else Path(model)


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of the content of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def artifact_files(path: Path) -> list[Path]:
    """Return the files of an artifact: itself, or those of a folder that belong to the artifact.

    Whatever else is in the folder, such as the hidden files of a desktop, is not part of it.
    """
    if not path.is_dir():
        return [path]
    names = next((FOLDERS[end] for end in FOLDERS if path.name.endswith(end)), OPENVINO_FILES)
    return [path / name for name in names]


def sha256_artifact(path: Path) -> str:
    """Return the SHA-256 of an artifact, in hexadecimal digits.

    For a folder, it is the SHA-256 of what `sha256sum` prints for its files in that folder, such as
    `sha256sum halnet.bin halnet.xml`.
    """
    if not path.is_dir():
        return sha256_file(path)
    listing = "".join(
        f"{sha256_file(file)}  {file.relative_to(path)}\n" for file in artifact_files(path)
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def size_artifact(path: Path) -> int:
    """Return the size of an artifact in bytes; for a folder, the total of its files."""
    return sum(file.stat().st_size for file in artifact_files(path))


def label_model(path: str | Path) -> str:
    """Return how results name a model: by its path, or a bundled one by its file name."""
    path = Path(path)
    return path.name if path == bundled(path.name) else str(path)
