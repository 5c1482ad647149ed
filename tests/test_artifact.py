import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from halnet.ages import AgeCalibration
from halnet.artifact import (
    CHECKPOINTS,
    INPUT,
    InputSpec,
    Metadata,
    TrainedSet,
    bundled,
    find_model,
    label_model,
    sha256_artifact,
    size_artifact,
)
from halnet.errors import ArtifactError

METADATA = Metadata(
    calibration=AgeCalibration(1.25, (0.5, 1.5), (1.5,) * 10, (0.1, 0.9, -0.2, 0.4)),
    datasets=(TrainedSet("aaf", "ab" * 32, 10338), TrainedSet("photos, mine", "ef" * 32)),
    reference_mae={"val": 5.5, "test": 5.75},
    precision="fp16",
    checkpoint_sha256="cd" * 32,
    licence="LicenseRef-research",
    terms="Research only; non-commercial.",
    minor_errors=((-0.5, 2.25), *((float(age),) for age in range(1, 17)), ()),
)

# The properties of a model that version 0.1.0 of halnet wrote.
FORMAT_1 = {
    "halnet.format_version": "1",
    "halnet.precision": "int8",
    "halnet.input": replace(INPUT, way=1).to_json(),
    "halnet.input_fingerprint": "60964a9c2dd01642",
    "halnet.age_range": "[0, 100]",
    "halnet.calibration": json.dumps(
        {"age_factors": [0.5] * 8, "quantiles": [0.25, 0.75], "temperature": 1.5}
    ),
    "halnet.checkpoint_sha256": "12" * 32,
    "halnet.dataset": "aaf",
    "halnet.split_sha256": "34" * 32,
    "halnet.reference_mae": '{"test": 4.97}',
}


def test_metadata_is_the_same_after_writing_and_reading_it() -> None:
    properties = METADATA.to_properties()
    assert all(key.startswith("halnet.") for key in properties)
    assert all(isinstance(value, str) for value in properties.values())
    assert Metadata.from_properties({**properties, "other": "x"}, "file") == METADATA


def test_metadata_is_written_in_format_2() -> None:
    properties = METADATA.to_properties()
    assert properties["halnet.format_version"] == "2"
    assert json.loads(properties["halnet.datasets"]) == [
        {"name": "aaf", "split_sha256": "ab" * 32, "photos": 10338},
        {"name": "photos, mine", "split_sha256": "ef" * 32, "photos": None},
    ]
    assert json.loads(properties["halnet.calibration"]) == {
        "kind": "scaled by age",
        "temperature": 1.25,
        "quantiles": [0.5, 1.5],
        "age_factors": [1.5] * 10,
        "scale": [0.1, 0.9, -0.2, 0.4],
    }
    assert properties["halnet.licence"] == "LicenseRef-research"
    assert json.loads(properties["halnet.minor_errors"])[:2] == [[-0.5, 2.25], [1.0]]


def test_metadata_of_format_1_is_read_as_a_list_of_one_dataset() -> None:
    assert Metadata.from_properties(FORMAT_1, "file") == Metadata(
        calibration=AgeCalibration(1.5, (0.25, 0.75), (0.5,) * 8),
        datasets=(TrainedSet("aaf", "34" * 32, None),),
        reference_mae={"test": 4.97},
        precision="int8",
        checkpoint_sha256="12" * 32,
        input=replace(INPUT, way=1),
    )


def test_metadata_of_format_1_stays_the_same_when_it_is_written_in_format_2() -> None:
    metadata = Metadata.from_properties(FORMAT_1, "file")
    properties = metadata.to_properties()
    assert properties["halnet.format_version"] == "2"
    assert Metadata.from_properties(properties, "file") == metadata


def test_the_datasets_have_a_common_name_and_a_single_one_has_a_split() -> None:
    assert (METADATA.dataset, METADATA.split_sha256) == ("aaf, photos, mine", "")
    single = replace(METADATA, datasets=METADATA.datasets[:1])
    assert (single.dataset, single.split_sha256) == ("aaf", "ab" * 32)
    nothing = replace(METADATA, datasets=())
    assert (nothing.dataset, nothing.split_sha256) == ("", "")


def test_errors_of_minors_are_given_for_all_ages_of_minors_or_for_none() -> None:
    with pytest.raises(ValueError, match="ages 0 to 17, or none at all, found 17 tuples"):
        replace(METADATA, minor_errors=METADATA.minor_errors[1:])


def test_the_fingerprints_are_fixed() -> None:
    """If one of these values changes, halnet refuses artifacts that are in use."""
    assert replace(INPUT, way=1).fingerprint() == "60964a9c2dd01642"
    assert INPUT.fingerprint() == "a3eb3c5b8787235a"
    assert INPUT.way == 2


def test_an_artifact_of_each_version_of_the_way_is_read() -> None:
    for way in (1, 2):
        metadata = replace(METADATA, input=replace(INPUT, way=way))
        properties = metadata.to_properties()
        assert Metadata.from_properties(properties, "model.onnx").input.way == way
        assert ("way" in json.loads(properties["halnet.input"])) == (way == 2)


@pytest.mark.parametrize(
    "changed",
    [
        replace(INPUT, size=256),
        replace(INPUT, layout="NCHW"),
        replace(INPUT, colour="BGR"),
        replace(INPUT, dtype="float32"),
        replace(INPUT, template=tuple((x + 1, y) for x, y in INPUT.template)),
        replace(INPUT, detector="other"),
        replace(INPUT, way=1),
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
        ({**GOOD, "halnet.format_version": "3"}, "expected format version 1 or 2, found 3"),
        (BGR, "found .* the model gives wrong ages"),
        ({**GOOD, "halnet.input": BGR["halnet.input"]}, "the model gives wrong ages"),  # forged
        ({**GOOD, "halnet.age_range": "[0, 80]"}, "expected ages 0 to 100"),
        ({**GOOD, "halnet.precision": "bf16"}, "found bf16"),
        ({**GOOD, "halnet.calibration": "{"}, "metadata is damaged"),
        ({**GOOD, "halnet.calibration": json.dumps({"temperature": 1})}, "metadata is damaged"),
        ({**GOOD, "halnet.calibration": "[]"}, "metadata is damaged"),
        ({**GOOD, "halnet.calibration": "null"}, "found no calibration"),
        ({k: v for k, v in GOOD.items() if k != "halnet.calibration"}, "found no calibration"),
        ({**GOOD, "halnet.calibration": '{"kind": "new"}'}, "found new; use the version"),
        ({**GOOD, "halnet.datasets": '{"name": "aaf"}'}, "metadata is damaged"),
        ({**GOOD, "halnet.datasets": '[{"name": "aaf"}]'}, "metadata is damaged"),
        ({**GOOD, "halnet.minor_errors": "[[1.0]]"}, "metadata is damaged .*found 1 tuples"),
        ({k: v for k, v in GOOD.items() if k != "halnet.datasets"}, "metadata is damaged"),
        ({k: v for k, v in FORMAT_1.items() if k != "halnet.dataset"}, "metadata is damaged"),
    ],
)
def test_foreign_or_damaged_metadata_is_refused(properties: dict[str, str], message: str) -> None:
    with pytest.raises(ArtifactError, match=f"^model.onnx: .*{message}"):
        Metadata.from_properties(properties, "model.onnx")


def test_a_folder_has_the_hash_of_its_listing_and_the_size_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "halnet.xml").write_bytes(b"graph")
    (tmp_path / "halnet.bin").write_bytes(b"weights")
    listing = subprocess.run(
        "sha256sum *", shell=True, cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert sha256_artifact(tmp_path) == hashlib.sha256(listing).hexdigest()
    file = tmp_path / "halnet.bin"
    assert sha256_artifact(file) == hashlib.sha256(b"weights").hexdigest()
    assert (size_artifact(tmp_path), size_artifact(file)) == (12, 7)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "Thumbs.db").write_bytes(b"of a desktop")
    assert sha256_artifact(tmp_path) == hashlib.sha256(listing).hexdigest()
    assert size_artifact(tmp_path) == 12


def test_a_model_is_named_by_its_path_and_a_bundled_one_by_its_file_name() -> None:
    assert label_model(bundled("halnet.onnx")) == "halnet.onnx"
    assert label_model("deploy/halnet.onnx") == "deploy/halnet.onnx"


def test_the_bundled_checkpoints_have_names(tmp_path: Path) -> None:
    for name in CHECKPOINTS:
        assert find_model(name) == bundled(f"{name}.safetensors")
        assert find_model(name).is_file()
        assert find_model(tmp_path / name) == tmp_path / name
    assert find_model("halnet-huge") == Path("halnet-huge")
