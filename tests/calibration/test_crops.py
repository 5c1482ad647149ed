from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.calibration.crops import (
    find_calibration_crops,
    full_batches,
    pick_calibration_crops,
    pick_records,
)
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.errors import ConfigError, DatasetError
from halnet.network.checkpoint import Checkpoint, load_checkpoint


@pytest.fixture(scope="module")
def bundled_checkpoint() -> Checkpoint:
    return load_checkpoint(bundled("halnet.safetensors"))


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


@pytest.mark.parametrize("count", [0, 15, 121])
def test_too_few_and_too_many_photos_are_refused(count: int) -> None:
    with pytest.raises(
        DatasetError, match=rf"expected 16 to 120 calibration photos, found {count}"
    ):
        pick_records(_records(f0=40, f40=40, f20=40), count, seed=0)


def test_a_split_with_too_few_photos_is_refused(prepared: Path) -> None:
    with pytest.raises(
        DatasetError,
        match=r"val split: expected at least 16 photos of faces to calibrate on, found 12",
    ):
        pick_calibration_crops(PreparedDataset(prepared), 12)


def test_crops_come_only_from_the_validation_split(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    data.records = tuple(
        replace(r, split="val" if r.split == "train" else r.split) for r in data.records
    )
    picked = pick_calibration_crops(data, 24, seed=3)
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


def test_faces_of_one_age_are_refused(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    data.records = tuple(
        replace(r, age_low=30 + r.age % 10, age_high=30 + r.age % 10, split="val")
        for r in data.records
    )
    with pytest.raises(DatasetError, match="at least 3 decades of age to calibrate on, found 1"):
        pick_calibration_crops(data, 24)


def test_crops_of_a_folder_are_balanced_over_ages(
    aaf_sample: Path, yunet: Path, bundled_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    photos = sorted((aaf_sample / "original images").iterdir())
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for i, photo in enumerate(photos):
        (folder / ("more" if i % 2 else "") / photo.name).symlink_to(photo.resolve())
    cv2.imwrite(str(folder / "wall.png"), np.full((90, 90, 3), 128, np.uint8))
    (folder / "broken.jpg").write_bytes(b"no photo")
    found = find_calibration_crops(folder, bundled_checkpoint, 20, seed=1, detector=yunet)
    assert found.crops.shape == (20, 224, 224, 3)
    assert found.origin["data"] == "photos in photos"
    chosen = found.origin["photos"]
    assert len(set(chosen)) == 20
    assert any(name.startswith("more/") for name in chosen)
    assert not {"wall.png", "broken.jpg"} & set(chosen)
    true_ages = {int(Path(name).stem[-2:]) // 10 for name in chosen}
    assert len(true_ages) >= 5, "balanced over the ages"
    again = find_calibration_crops(folder, bundled_checkpoint, 20, seed=1, detector=yunet)
    assert again.origin == found.origin
    np.testing.assert_array_equal(again.crops, found.crops)
    everything = find_calibration_crops(folder, bundled_checkpoint, 128, detector=yunet)
    assert 50 < len(everything) <= len(photos)
    name = Path(chosen[0]).name
    with pytest.raises(DatasetError, match=rf"no photos of the test split.*found 1 \({name}"):
        find_calibration_crops(folder, bundled_checkpoint, 20, detector=yunet, test_photos={name})


def test_a_folder_without_photos_is_refused(
    yunet: Path, bundled_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="photos"):
        find_calibration_crops(tmp_path, bundled_checkpoint, 20, detector=yunet)


def test_a_folder_without_faces_is_refused(
    yunet: Path, bundled_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    for i in range(20):
        cv2.imwrite(str(tmp_path / f"wall{i}.png"), np.full((90, 90, 3), 10 * i, np.uint8))
    with pytest.raises(DatasetError, match="at least 16 photos of faces to calibrate on, found 0"):
        find_calibration_crops(tmp_path, bundled_checkpoint, 20, detector=yunet)


def test_a_folder_with_faces_of_one_age_is_refused(
    aaf: Path, yunet: Path, bundled_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (photo, *_) = sorted((aaf / "original images").glob("*A25.jpg"))
    for i in range(20):
        (tmp_path / f"same{i}.jpg").symlink_to(photo)
    with pytest.raises(DatasetError, match="at least 3 decades of age to calibrate on, found 1"):
        find_calibration_crops(tmp_path, bundled_checkpoint, 20, detector=yunet)


def test_the_last_batch_is_filled_up_with_copies(crops: np.ndarray) -> None:
    (first, first_count), (last, last_count) = full_batches(crops, 3)
    assert (len(first), first_count, len(last), last_count) == (3, 3, 3, 2)
    np.testing.assert_array_equal(np.concatenate([first, last[:2]]), crops)
    np.testing.assert_array_equal(last[2], crops[3])
