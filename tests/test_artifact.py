import json
from dataclasses import replace

import pytest

from halnet.ages import AgeCalibration
from halnet.artifact import INPUT, Metadata
from halnet.errors import ArtifactError

METADATA = Metadata(
    calibration=AgeCalibration(1.25, (0.5, 1.5)),
    dataset="aaf",
    split_sha256="ab" * 32,
    reference_mae={"val": 5.5, "test": 5.75},
    precision="fp16",
    checkpoint_sha256="cd" * 32,
)


def test_properties_round_trip() -> None:
    properties = METADATA.to_properties()
    assert all(key.startswith("halnet.") for key in properties)
    assert Metadata.from_properties({**properties, "other": "x"}, "file") == METADATA


def test_the_fingerprint_is_fixed_and_covers_every_field() -> None:
    """A changed value here means that artifacts in use would be refused: mean it."""
    assert INPUT.fingerprint() == "60964a9c2dd01642"
    moved = tuple((x + 1, y) for x, y in INPUT.template)
    for changed in (
        replace(INPUT, size=256),
        replace(INPUT, layout="NCHW"),
        replace(INPUT, colour="BGR"),
        replace(INPUT, dtype="float32"),
        replace(INPUT, template=moved),
        replace(INPUT, detector="other"),
    ):
        assert changed.fingerprint() != INPUT.fingerprint()


def test_foreign_metadata_is_refused() -> None:
    good = METADATA.to_properties()
    bgr = replace(METADATA, input=replace(INPUT, colour="BGR")).to_properties()
    forged = {**good, "halnet.input": bgr["halnet.input"]}
    cases = [
        ({}, "found no halnet.* metadata"),
        ({**good, "halnet.format_version": "2"}, "expected format version 1, found 2"),
        (bgr, "found .*its ages would be wrong"),
        (forged, "its ages would be wrong"),
        ({**good, "halnet.age_range": "[0, 80]"}, "expected ages 0 to 100"),
        ({**good, "halnet.precision": "bf16"}, "found bf16"),
        ({**good, "halnet.calibration": "{"}, "metadata is damaged"),
        ({**good, "halnet.calibration": json.dumps({"temperature": 1})}, "metadata is damaged"),
        ({k: v for k, v in good.items() if k != "halnet.dataset"}, "metadata is damaged"),
    ]
    for properties, message in cases:
        with pytest.raises(ArtifactError, match=message):
            Metadata.from_properties(properties, "model.onnx")
