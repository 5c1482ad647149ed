import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from halnet.ages import AgeCalibration
from halnet.artifact import INPUT, InputSpec, Metadata, sha256_artifact, size_artifact
from halnet.errors import ArtifactError

METADATA = Metadata(
    calibration=AgeCalibration(1.25, (0.5, 1.5)),
    dataset="aaf",
    split_sha256="ab" * 32,
    reference_mae={"val": 5.5, "test": 5.75},
    precision="fp16",
    checkpoint_sha256="cd" * 32,
)


def test_metadata_is_the_same_after_writing_and_reading_it() -> None:
    properties = METADATA.to_properties()
    assert all(key.startswith("halnet.") for key in properties)
    assert Metadata.from_properties({**properties, "other": "x"}, "file") == METADATA


def test_the_fingerprint_is_fixed() -> None:
    """If this value changes, halnet refuses all artifacts that are in use."""
    assert INPUT.fingerprint() == "60964a9c2dd01642"


@pytest.mark.parametrize(
    "changed",
    [
        replace(INPUT, size=256),
        replace(INPUT, layout="NCHW"),
        replace(INPUT, colour="BGR"),
        replace(INPUT, dtype="float32"),
        replace(INPUT, template=tuple((x + 1, y) for x, y in INPUT.template)),
        replace(INPUT, detector="other"),
    ],
)
def test_the_fingerprint_depends_on_every_field(changed: InputSpec) -> None:
    assert changed.fingerprint() != INPUT.fingerprint()


GOOD = METADATA.to_properties()
BGR = replace(METADATA, input=replace(INPUT, colour="BGR")).to_properties()


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({}, r"found no halnet\.\* metadata"),
        ({**GOOD, "halnet.format_version": "2"}, "expected format version 1, found 2"),
        (BGR, "found .* the model gives wrong ages"),
        ({**GOOD, "halnet.input": BGR["halnet.input"]}, "the model gives wrong ages"),  # forged
        ({**GOOD, "halnet.age_range": "[0, 80]"}, "expected ages 0 to 100"),
        ({**GOOD, "halnet.precision": "bf16"}, "found bf16"),
        ({**GOOD, "halnet.calibration": "{"}, "metadata is damaged"),
        ({**GOOD, "halnet.calibration": json.dumps({"temperature": 1})}, "metadata is damaged"),
        ({k: v for k, v in GOOD.items() if k != "halnet.dataset"}, "metadata is damaged"),
    ],
)
def test_foreign_or_damaged_metadata_is_refused(properties: dict[str, str], message: str) -> None:
    with pytest.raises(ArtifactError, match=f"^model.onnx: .*{message}"):
        Metadata.from_properties(properties, "model.onnx")


def test_a_folder_has_the_hash_of_its_listing_and_the_size_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "b.xml").write_bytes(b"graph")
    (tmp_path / "a.bin").write_bytes(b"weights")
    listing = subprocess.run(
        "sha256sum *", shell=True, cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert sha256_artifact(tmp_path) == hashlib.sha256(listing).hexdigest()
    assert sha256_artifact(tmp_path / "a.bin") == hashlib.sha256(b"weights").hexdigest()
    assert (size_artifact(tmp_path), size_artifact(tmp_path / "a.bin")) == (12, 7)
