"""Which validation photos INT8 is judged on, with one dataset and with several."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from halnet.artifact import TrainedSet, bundled
from halnet.calibration.validation_photos import ValidationPhotos, find_validation_photos
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import DatasetError
from halnet.network.checkpoint import Checkpoint, load_checkpoint

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def loaded() -> Checkpoint:
    return load_checkpoint(bundled("halnet.safetensors"))


def find(checkpoint: Checkpoint, *sets: PreparedDataset) -> ValidationPhotos:
    return find_validation_photos(DataCollection(sets), checkpoint)


def sources(photos: ValidationPhotos, name: str) -> set[str]:
    return {record.source for record in photos.records if record.dataset == name}


def rows(data: PreparedDataset, *splits: str) -> list[int]:
    return [i for i, record in enumerate(data.records) if record.split in splits]


def test_a_single_dataset_keeps_all_of_its_photos(prepared: Path, loaded: Checkpoint) -> None:
    data = PreparedDataset(prepared)
    photos = find(replace(loaded, trained_on=data.hashes), data)
    assert [record.source for record in photos.records] == [r.source for r in data.select("val")]
    assert str(photos) == f"synthetic val split {data.split_sha256[:12]}"
    assert photos.error_name == "MAE"


def test_every_dataset_is_named_with_its_split(
    prepared: Path, make_prepared_folder: Make, loaded: Checkpoint
) -> None:
    first = PreparedDataset(prepared)
    other = PreparedDataset(make_prepared_folder(40, "other", 500, years=10, shares="0/50/50"))
    unsuited = PreparedDataset(make_prepared_folder(40, "tests", 700, shares="0/0/100"))
    photos = find(loaded, first, other, unsuited)
    assert photos.to_dict() == {
        "synthetic": {"split": "val", "split_sha256": first.split_sha256, "photos": 12},
        "other": {"split": "val", "split_sha256": other.split_sha256, "photos": 20},
        "tests": {"split": "val", "split_sha256": unsuited.split_sha256, "photos": 0},
    }
    assert len(photos) == 32
    assert photos.error_name == "mean error", "labels of the second dataset are ranges"
    spread = photos.select(16)
    assert [sum(r.dataset == name for r in spread) for name in ("synthetic", "other")] == [6, 10]


def test_a_copy_of_a_test_photo_of_another_dataset_is_left_out(
    prepared: Path, make_prepared_folder: Make, loaded: Checkpoint
) -> None:
    """The second dataset has the same photos, all of them in validation."""
    first = PreparedDataset(prepared)
    second = PreparedDataset(make_prepared_folder(240, "second", shares="0/100/0"))
    photos = find(loaded, first, second)
    tested = {first.records[i].source for i in rows(first, "test")}
    assert len(tested) == 12
    assert sources(photos, "second") == {record.source for record in second.records} - tested
    assert len(sources(photos, "synthetic")) == 12


def test_photos_that_the_checkpoint_was_trained_on_are_left_out(
    prepared: Path, make_prepared_folder: Make, loaded: Checkpoint
) -> None:
    home = PreparedDataset(prepared)
    other = PreparedDataset(make_prepared_folder(40, "other", 500, shares="0/50/50"))
    seen = rows(other, "val")[:5]
    checkpoint = replace(
        loaded,
        metadata=replace(loaded.metadata, datasets=(TrainedSet("x", home.split_sha256),)),
        trained_on=other.hashes[seen],
    )
    photos = find(checkpoint, home, other)
    left = {other.records[i].source for i in seen}
    assert sources(photos, "other") == {r.source for r in other.select("val")} - left
    assert photos.to_dict()["other"]["photos"] == 15
    # The dataset of the training keeps its validation photos, whatever their hashes are.
    checkpoint = replace(checkpoint, trained_on=home.hashes)
    assert len(sources(find(checkpoint, home, other), "synthetic")) == 12


def test_datasets_without_photos_that_are_left_are_refused(
    make_prepared_folder: Make, loaded: Checkpoint
) -> None:
    sets = [
        PreparedDataset(make_prepared_folder(20, name, first, shares="0/50/50"))
        for name, first in (("a", 600), ("b", 640))
    ]
    hashes = [value for data in sets for value in data.hashes]
    checkpoint = replace(loaded, trained_on=hashes)
    with pytest.raises(DatasetError, match="that the model was not trained on, found none"):
        find(checkpoint, *sets)
