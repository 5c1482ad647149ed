"""Artifacts: the metadata that every model file carries, and the hash and size of such files.

A model file does everything after alignment. Its input `image` takes aligned face crops,
N x 224 x 224 x 3 uint8 RGB. Its outputs are float32: `age` and `stddev` (N, years) and
`probabilities` (N x 101, one for each year from 0 to 100). Everything else that a program must know
(input specification, calibration, origin) is in the file as text properties named `halnet.*`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from halnet.ages import AGE_MAX, AGE_MIN, AgeCalibration
from halnet.alignment import CROP_SIZE, TEMPLATE
from halnet.errors import ArtifactError
from halnet.faces import YUNET_NAME

FORMAT_VERSION = 1
PREFIX = "halnet."
PRECISIONS = ("fp32", "fp16", "int8")
INPUT_NAME = "image"
OUTPUT_NAMES = ("age", "stddev", "probabilities")


@dataclass(frozen=True)
class InputSpec:
    """How the crops for a model are made. A model gives wrong ages for crops of another kind."""

    size: int = CROP_SIZE  # pixels: width and height
    layout: str = "NHWC"
    colour: str = "RGB"
    dtype: str = "uint8"
    template: tuple[tuple[float, float], ...] = tuple((float(x), float(y)) for x, y in TEMPLATE)
    detector: str = YUNET_NAME.removesuffix(".onnx")

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change if any of the fields changes."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


INPUT = InputSpec()
KNOWN_INPUTS = {INPUT.fingerprint(): INPUT}


@dataclass(frozen=True)
class Metadata:
    """The metadata of a model file."""

    calibration: AgeCalibration
    dataset: str  # name of the dataset that the model was trained on
    split_sha256: str  # SHA-256 of the split file
    reference_mae: dict[str, float] = field(default_factory=dict)  # split name: years, PyTorch FP32
    precision: str = "fp32"  # one of PRECISIONS
    checkpoint_sha256: str = ""  # SHA-256 of the checkpoint file that the artifact was made from
    input: InputSpec = INPUT

    def to_properties(self) -> dict[str, str]:
        """Return the metadata as the `halnet.*` text properties of a model file."""
        values: dict[str, Any] = {
            "format_version": str(FORMAT_VERSION),
            "precision": self.precision,
            "input": json.dumps(asdict(self.input), sort_keys=True),
            "input_fingerprint": self.input.fingerprint(),
            "age_range": json.dumps([AGE_MIN, AGE_MAX]),
            "calibration": json.dumps(asdict(self.calibration), sort_keys=True),
            "checkpoint_sha256": self.checkpoint_sha256,
            "dataset": self.dataset,
            "split_sha256": self.split_sha256,
            "reference_mae": json.dumps(self.reference_mae, sort_keys=True),
        }
        return {PREFIX + key: value for key, value in values.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str | Path) -> Self:
        """Return the metadata that the text properties of the file `source` contain.

        Raises ArtifactError if the properties are missing or damaged, or if this version of the
        library does not know their format or the kind of crops that the model takes.
        """
        version = properties.get(PREFIX + "format_version")
        if version is None:
            raise ArtifactError(
                f"{source}: expected a HAL-Net model, found no halnet.* metadata; "
                "make a model with halnet export"
            )
        if version != str(FORMAT_VERSION):
            raise ArtifactError(
                f"{source}: expected format version {FORMAT_VERSION}, found {version}; "
                "export the checkpoint again with this version of halnet"
            )
        try:
            spec = _read_input(properties, source)
            age_range = json.loads(properties[PREFIX + "age_range"])
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
            calibration = json.loads(properties[PREFIX + "calibration"])
            return cls(
                calibration=AgeCalibration(
                    float(calibration["temperature"]),
                    tuple(float(value) for value in calibration["quantiles"]),
                    tuple(float(value) for value in calibration.get("age_factors", ())),
                ),
                dataset=properties[PREFIX + "dataset"],
                split_sha256=properties[PREFIX + "split_sha256"],
                reference_mae=dict(json.loads(properties[PREFIX + "reference_mae"])),
                precision=precision,
                checkpoint_sha256=properties[PREFIX + "checkpoint_sha256"],
                input=spec,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ArtifactError(
                f"{source}: the halnet.* metadata is damaged ({error!r}); export the checkpoint "
                "again"
            ) from error


def _read_input(properties: Mapping[str, str], source: str | Path) -> InputSpec:
    """Return the input specification; ArtifactError if this library does not make such crops."""
    fingerprint = properties[PREFIX + "input_fingerprint"]
    stated = json.dumps(json.loads(properties[PREFIX + "input"]), sort_keys=True)
    spec = KNOWN_INPUTS.get(fingerprint)
    if spec is None or stated != json.dumps(asdict(spec), sort_keys=True):
        raise ArtifactError(
            f"{source}: expected crops with the input fingerprint {' or '.join(KNOWN_INPUTS)}, "
            f"found {fingerprint}; this version of halnet makes other crops, for which the model "
            "gives wrong ages: use the version of halnet that exported it"
        )
    return spec


def bundled(name: str) -> Path:
    """Return the path of a file that is installed with the package, such as `halnet.onnx`."""
    return Path(str(files("halnet") / "assets" / name))


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of the content of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_artifact(path: Path) -> str:
    """Return the SHA-256 of an artifact, in hexadecimal digits.

    For a folder, it is the SHA-256 of what `sha256sum *` prints in that folder.
    """
    if not path.is_dir():
        return sha256_file(path)
    listing = "".join(f"{sha256_file(file)}  {file.name}\n" for file in sorted(path.iterdir()))
    return hashlib.sha256(listing.encode()).hexdigest()


def size_artifact(path: Path) -> int:
    """Return the size of an artifact in bytes; for a folder, the total of its files."""
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else (path,)))
