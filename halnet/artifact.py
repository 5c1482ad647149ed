"""Artifacts: the contract that every model file carries inside it, and the files' names.

A model file is the whole predictor after alignment: input `image`, N x 224 x 224 x 3 uint8 RGB;
outputs `age`, `stddev` and `probabilities`, float32. What else a program must know to use it
(input specification, calibration, origin) travels in the file as text properties `halnet.*`.
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
    """How the crops that a model takes are made. Two models that differ here must not be mixed."""

    size: int = CROP_SIZE  # pixels a side
    layout: str = "NHWC"
    colour: str = "RGB"
    dtype: str = "uint8"
    template: tuple[tuple[float, float], ...] = tuple((float(x), float(y)) for x, y in TEMPLATE)
    detector: str = YUNET_NAME.removesuffix(".onnx")

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change whenever any of the fields does."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


INPUT = InputSpec()
KNOWN_INPUTS = {INPUT.fingerprint(): INPUT}


@dataclass(frozen=True)
class Metadata:
    """What a model file says of itself."""

    calibration: AgeCalibration
    dataset: str  # name of the dataset it was trained on
    split_sha256: str  # of the split file's content
    reference_mae: dict[str, float] = field(default_factory=dict)  # split name: years, PyTorch FP32
    precision: str = "fp32"
    checkpoint_sha256: str = ""  # of the checkpoint file that the artifact was made from
    input: InputSpec = INPUT

    def to_properties(self) -> dict[str, str]:
        """Return the `halnet.*` text properties that a model file carries."""
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
        """Read the properties of the file `source`, refusing what this library does not know."""
        version = properties.get(PREFIX + "format_version")
        if version is None:
            raise ArtifactError(
                f"{source}: expected a HAL-Net model, found no halnet.* metadata; "
                "make one with halnet export"
            )
        if version != str(FORMAT_VERSION):
            raise ArtifactError(
                f"{source}: expected format version {FORMAT_VERSION}, found {version}; "
                "export the checkpoint again with this version of halnet"
            )
        try:
            fingerprint = properties[PREFIX + "input_fingerprint"]
            spec = KNOWN_INPUTS.get(fingerprint)
            stated = json.loads(properties[PREFIX + "input"])
            if spec is None or json.dumps(stated, sort_keys=True) != json.dumps(
                asdict(spec), sort_keys=True
            ):
                raise ArtifactError(
                    f"{source}: expected crops of the input fingerprint "
                    f"{' or '.join(KNOWN_INPUTS)}, found {fingerprint}; its crops are made another "
                    "way, so its ages would be wrong: use the halnet version it was exported with"
                )
            age_range = json.loads(properties[PREFIX + "age_range"])
            if age_range != [AGE_MIN, AGE_MAX]:
                raise ArtifactError(
                    f"{source}: expected ages {AGE_MIN} to {AGE_MAX}, found {age_range}"
                )
            if properties[PREFIX + "precision"] not in PRECISIONS:
                raise ArtifactError(
                    f"{source}: expected a precision of {', '.join(PRECISIONS)}, found "
                    f"{properties[PREFIX + 'precision']}"
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
                precision=properties[PREFIX + "precision"],
                checkpoint_sha256=properties[PREFIX + "checkpoint_sha256"],
                input=spec,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ArtifactError(f"{source}: its halnet.* metadata is damaged: {error!r}") from error


def bundled(name: str) -> Path:
    """Return the path of a file that is installed with the package, such as `halnet.onnx`."""
    return Path(str(files("halnet") / "assets" / name))


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_artifact(path: Path) -> str:
    """Return the SHA-256 of an artifact: of a file its content's, of a folder its listing's.

    The listing is what `sha256sum *` prints in the folder.
    """
    if not path.is_dir():
        return sha256_file(path)
    listing = "".join(f"{sha256_file(file)}  {file.name}\n" for file in sorted(path.iterdir()))
    return hashlib.sha256(listing.encode()).hexdigest()


def size_artifact(path: Path) -> int:
    """Return the bytes of an artifact, a file or a folder of files."""
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else (path,)))
