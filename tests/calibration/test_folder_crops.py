"""Calibration on the faces in a folder of photos."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.batches import PhotoResult
from halnet.calibration import folder_crops
from halnet.calibration.folder_crops import find_calibration_crops
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset, crop_path
from halnet.errors import ConfigError, DatasetError
from halnet.faces.alignment import TEMPLATE, align
from halnet.network.checkpoint import Checkpoint, load_checkpoint
from halnet.photos.images import load_image


@pytest.fixture(scope="module")
def bundled_checkpoint() -> Checkpoint:
    return load_checkpoint(bundled("halnet.safetensors"))


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


@pytest.fixture
def aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos are prepared crops: the face is where the template is, and its age is in the name."""

    def predict(predictor: Any, photos: list[Path]) -> Iterator[PhotoResult]:
        for photo in photos:
            face: Any = SimpleNamespace(landmarks=TEMPLATE + 16, age=float(photo.stem[-2:]))
            yield PhotoResult(str(photo), [face])

    monkeypatch.setattr(folder_crops, "predict_photos", predict)


def copy_photos(data: PreparedDataset, split: str, folder: Path, count: int) -> None:
    """Copy prepared crops of a split, under names that end in other ages."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(data.select(split, count)):
        shutil.copy(crop_path(data.root, record.source), folder / f"{split}{number % 60 + 10}.png")


@pytest.mark.usefixtures("aligned")
def test_copies_of_test_photos_are_left_out_whatever_their_names(
    calibratable: Path, bundled_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """One photo that is none of the test has the name of a test photo."""
    data = PreparedDataset(calibratable)
    copy_photos(data, "train", tmp_path, 30)
    copy_photos(data, "test", tmp_path, 9)
    same_name = tmp_path / Path(data.select("test")[0].source).with_suffix(".png")
    (tmp_path / "train10.png").rename(same_name)
    found = find_calibration_crops(tmp_path, bundled_checkpoint, 64, data=DataCollection([data]))
    assert found.left_out == 9
    names = {f"train{number + 10}.png" for number in range(1, 30)}
    assert set(found.origin["photos"]) == names | {same_name.name}
    assert len(find_calibration_crops(tmp_path, bundled_checkpoint, 64)) == 39


@pytest.mark.usefixtures("aligned")
def test_a_pattern_stands_for_the_photos_that_match(
    calibratable: Path, bundled_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    copy_photos(PreparedDataset(calibratable), "train", tmp_path / "photos", 30)
    copy_photos(PreparedDataset(calibratable), "test", tmp_path / "photos", 9)
    pattern = tmp_path / "photos" / "train*.png"
    found = find_calibration_crops(pattern, bundled_checkpoint, 128)
    assert found.origin["data"] == "photos in photos"
    photos = found.origin["photos"]
    assert set(photos) == {f"train{number + 10}.png" for number in range(30)}
    expected = align(load_image(tmp_path / "photos" / photos[3]), TEMPLATE + 16)
    np.testing.assert_array_equal(found.crops[3], expected)


def test_too_few_crops_are_refused_before_faces_are_found(
    bundled_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="expected at least 16 calibration photos, found 15"):
        find_calibration_crops(tmp_path, bundled_checkpoint, 15)
    with pytest.raises(ConfigError, match="found no such folder; name another one with --calib"):
        find_calibration_crops(tmp_path / "none", bundled_checkpoint, 20)
