import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.calibration.crops import (
    full_batches,
    pick_calibration_crops,
    pick_records,
)
from halnet.calibration.validation_photos import ValidationPhotos, find_validation_photos
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.errors import DatasetError
from halnet.network.checkpoint import Checkpoint, load_checkpoint


@pytest.fixture(scope="module")
def bundled_checkpoint() -> Checkpoint:
    return load_checkpoint(bundled("halnet.safetensors"))


def _photos(checkpoint: Checkpoint, *sets: PreparedDataset) -> ValidationPhotos:
    return find_validation_photos(DataCollection(sets), checkpoint)


def _records(**counts: int) -> list[Record]:
    """Return photos by group: `f20=5` stands for five women of 20 to 29."""
    return [
        Record(f"{group}-{i}.jpg", age, age, group[0], split="val")
        for group, count in counts.items()
        for i, age in enumerate(int(group[1:]) + i % 10 for i in range(count))
    ]


def test_each_decade_and_sex_gives_the_same_number() -> None:
    records = _records(f0=40, m0=40, f20=300, m20=300, f70=3, m70=0)
    picked = pick_records(records, 63, seed=0)
    groups = Counter(record.source.split("-")[0] for record in picked)
    assert groups == {"f0": 15, "m0": 15, "f20": 15, "m20": 15, "f70": 3}
    assert len({record.source for record in picked}) == 63


def test_the_seed_decides_which_photos_are_picked() -> None:
    records = _records(f0=40, f40=40, f20=40)
    assert pick_records(records, 30, seed=1) == pick_records(records, 30, seed=1)
    assert pick_records(records, 30, seed=1) != pick_records(records, 30, seed=2)


@pytest.mark.parametrize("count", [0, 15])
def test_too_few_photos_are_refused(count: int) -> None:
    with pytest.raises(
        DatasetError, match=rf"expected at least 16 calibration photos, found {count}"
    ):
        pick_records(_records(f0=40, f40=40, f20=40), count, seed=0)


def test_a_small_dataset_gives_all_its_photos() -> None:
    records = _records(f0=40, f40=40, f20=40)
    picked = pick_records(records, 128, seed=0)
    assert sorted(r.source for r in picked) == sorted(r.source for r in records)


def test_in_each_group_the_datasets_take_turns() -> None:
    large = [replace(r, dataset="large") for r in _records(f0=40, m0=40, f20=300, m20=300, f70=9)]
    small = [replace(r, dataset="small") for r in _records(f0=3, m0=40, f20=40)]
    picked = pick_records([*large, *small], 57, seed=0)
    groups = Counter((record.dataset, record.source.split("-")[0]) for record in picked)
    assert groups == {  # 12 photos of each group, and all 9 of the last
        **{("large", "f0"): 9, ("small", "f0"): 3},
        **{("large", "m0"): 6, ("small", "m0"): 6},
        **{("large", "f20"): 6, ("small", "f20"): 6},
        **{("large", "m20"): 12, ("large", "f70"): 9},
    }
    assert len({(record.dataset, record.source) for record in picked}) == 57


def test_a_range_of_ages_belongs_to_the_decade_of_its_middle() -> None:
    ranges = [
        Record(f"{low}-{i}.jpg", low, high, "male", dataset="ranges")
        for low, high in ((3, 9), (20, 29), (70, 100))
        for i in range(20)
    ]
    exact = [replace(record, dataset="exact") for record in _records(m0=20, m20=20, m80=20)]
    picked = Counter((r.age_low // 10, r.dataset) for r in pick_records(ranges + exact, 30, seed=0))
    # The middle of 70 to 100 years is 85 years.
    assert picked == dict.fromkeys(
        [(0, "ranges"), (0, "exact"), (2, "ranges"), (2, "exact"), (7, "ranges"), (8, "exact")], 5
    )


# What halnet 1.0 picked from the validation photos of the fixture `calibratable`, and the SHA-256
# of the crops.
SINGLE = {
    0: (
        [184, 129, 258, 315, 264, 81, 392, 35, 288, 221, 174, 111, 1, 132, 87, 278],
        "b13d082e98e79886",
    ),
    3: (
        [184, 129, 258, 315, 264, 329, 278, 35, 288, 221, 238, 111, 1, 132, 87, 392],
        "cc0e70679da33df2",
    ),
}


@pytest.mark.parametrize("seed", list(SINGLE))
def test_a_single_dataset_gives_the_photos_that_it_always_gave(
    seed: int, calibratable: Path, bundled_checkpoint: Checkpoint
) -> None:
    data = PreparedDataset(calibratable)
    picked = pick_calibration_crops(_photos(bundled_checkpoint, data), 16, seed)
    numbers, digest = SINGLE[seed]
    assert picked.origin == {
        "data": f"synthetic val split {data.split_sha256[:12]}",
        "seed": seed,
        "photos": [f"{number:03d}.jpg" for number in numbers],
    }
    assert hashlib.sha256(picked.crops.tobytes()).hexdigest()[:16] == digest
    assert str(picked) == "16 crops"


def test_several_datasets_give_as_many_photos_together_as_one(
    calibratable: Path,
    make_prepared_folder: Callable[..., Path],
    bundled_checkpoint: Checkpoint,
) -> None:
    other = PreparedDataset(make_prepared_folder(400, "other", first=400, years=10))
    first = PreparedDataset(calibratable)
    picked = pick_calibration_crops(_photos(bundled_checkpoint, first, other), 24)
    assert len(picked) == 24
    photos = picked.origin["photos"]
    assert list(photos) == ["synthetic", "other"]
    assert sum(map(len, photos.values())) == 24
    assert min(map(len, photos.values())) >= 8
    for data in (first, other):
        val = {record.source for record in data.select("val")}
        assert set(photos[data.dataset]) <= val
    assert picked.origin["data"] == (
        f"synthetic val split {first.split_sha256[:12]}, other val split {other.split_sha256[:12]}"
    )
    assert "the datasets take turns" in picked.origin["rule"]
    counts = ", ".join(f"{len(sources)} of {name}" for name, sources in photos.items())
    assert str(picked) == f"24 crops ({counts})"
    # The crops are those of the photos, each from its own dataset.
    by_source = {r.source: d.inner_crops([r])[0] for d in (first, other) for r in d.select("val")}
    expected = {by_source[source].tobytes() for sources in photos.values() for source in sources}
    assert {crop.tobytes() for crop in picked.crops} == expected


def test_a_split_with_too_few_photos_is_refused(
    prepared: Path, bundled_checkpoint: Checkpoint
) -> None:
    with pytest.raises(
        DatasetError,
        match=r"val split: expected at least 16 photos of faces to calibrate on, found 12",
    ):
        pick_calibration_crops(_photos(bundled_checkpoint, PreparedDataset(prepared)), 12)


def test_crops_come_only_from_the_validation_split(
    prepared: Path, bundled_checkpoint: Checkpoint
) -> None:
    data = PreparedDataset(prepared)
    data.records = tuple(
        replace(r, split="val" if r.split == "train" else r.split) for r in data.records
    )
    picked = pick_calibration_crops(_photos(bundled_checkpoint, data), 24, seed=3)
    assert picked.crops.shape == (24, 224, 224, 3)
    photos = picked.origin["photos"]
    assert picked.origin["seed"] == 3
    by_source = {record.source: record for record in data.records}
    assert {by_source[source].split for source in photos} == {"val"}
    np.testing.assert_array_equal(picked.crops[5], data.inner_crops([by_source[photos[5]]])[0])
    # Ages 10 to 69 and two sexes make twelve groups, with two photos of each.
    groups = Counter((by_source[source].age // 10, by_source[source].sex) for source in photos)
    assert set(groups.values()) == {2}
    assert len(groups) == 12


def test_faces_of_one_age_are_refused(prepared: Path, bundled_checkpoint: Checkpoint) -> None:
    data = PreparedDataset(prepared)
    data.records = tuple(
        replace(r, age_low=30 + r.age % 10, age_high=30 + r.age % 10, split="val")
        for r in data.records
    )
    with pytest.raises(DatasetError, match="at least 3 decades of age to calibrate on, found 1"):
        pick_calibration_crops(_photos(bundled_checkpoint, data), 24)


def test_the_last_batch_is_filled_up_with_copies(crops: np.ndarray) -> None:
    (first, first_count), (last, last_count) = full_batches(crops, 3)
    assert (len(first), first_count, len(last), last_count) == (3, 3, 3, 2)
    np.testing.assert_array_equal(np.concatenate([first, last[:2]]), crops)
    np.testing.assert_array_equal(last[2], crops[3])
