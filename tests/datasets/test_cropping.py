"""One photo becomes a crop or is rejected, with a fake detector in place of YuNet."""

import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.datasets.crop_hash import hash_crop
from halnet.datasets.cropping import PreparedPhoto, crop_photo, crop_photos, landmark_error
from halnet.datasets.prepared_dataset import crop_path
from halnet.datasets.source_photo import RejectedPhoto, SourceItem, SourcePhoto
from halnet.errors import DatasetError
from halnet.faces.alignment import MARGIN, TEMPLATE, align
from halnet.faces.detected import DetectedFace
from halnet.photos.images import Image

LARGE, SMALL = TEMPLATE + 100, TEMPLATE / 2  # landmarks of two faces in one photo
PHOTO = SourcePhoto("a/photo.png", 3, 9, "female", "Eve", (("camera", "b"),), "val")
LABEL = PreparedPhoto("a/photo.png", 3, 9, "female", "Eve", {"camera": "b"}, "val")

Crop = Callable[[SourceItem], PreparedPhoto]


def two_faces(image: Image) -> tuple[DetectedFace, ...]:
    return tuple(
        DetectedFace((0, 0, size, size), landmarks.astype(np.float32), 0.87654)
        for landmarks, size in ((LARGE, 200), (SMALL, 100))
    )


def no_faces(image: Image) -> tuple[DetectedFace, ...]:
    return ()


@pytest.fixture
def image(tmp_path: Path) -> Image:
    image = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    path = tmp_path / "source" / PHOTO.source
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), image[:, :, ::-1])
    return image


@pytest.fixture
def crop(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Crop:
    """Crops photos of `source` with a detector that finds the large face, then the small one."""
    monkeypatch.setattr("halnet.datasets.cropping.FaceDetector", lambda model, threads: two_faces)
    return partial(crop_photo, tmp_path / "source", tmp_path / "out", tmp_path / "yunet")


def test_the_largest_face_is_cropped_without_landmarks(
    crop: Crop, image: Image, tmp_path: Path
) -> None:
    written = align(image, LARGE.astype(np.float32), MARGIN)
    assert crop(PHOTO) == replace(
        LABEL,
        score=0.8765,
        faces=2,
        width=400,
        height=400,
        eye_distance=56.0,
        landmarks="184.00 196.00 240.00 196.00 212.00 228.00 189.00 261.00 235.00 261.00",
        hash=f"{hash_crop(written):016x}",
    )
    np.testing.assert_array_equal(
        cv2.imread(str(crop_path(tmp_path / "out", PHOTO.source)), cv2.IMREAD_COLOR_RGB), written
    )


def test_the_landmarks_of_the_dataset_choose_the_face(
    crop: Crop, image: Image, tmp_path: Path
) -> None:
    """The right eye of the small face, 28 pixels from the left one, is 7 pixels off."""
    stated = SMALL.copy()
    stated[1] += [0, 7]
    result = crop(replace(PHOTO, read_landmarks=lambda: stated))
    assert result.landmark_error == round(7 / 5 / np.hypot(28, 7), 4)
    assert not result.reject
    written = cv2.imread(str(crop_path(tmp_path / "out", PHOTO.source)), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(written, align(image, SMALL.astype(np.float32), MARGIN))


def test_a_photo_without_the_face_of_the_landmarks_is_rejected(crop: Crop, tmp_path: Path) -> None:
    result = crop(replace(PHOTO, read_landmarks=lambda: SMALL + 20))
    assert result.landmark_error == pytest.approx(np.hypot(20, 20) / 28, abs=1e-4)
    assert result.reject == "no detected face is the annotated one"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, "eyes"])
def test_landmarks_that_are_not_those_of_a_face_are_rejected(crop: Crop, value: object) -> None:
    """The error of such landmarks is no number, which JSON and the median cannot have."""
    stated = LARGE.copy()
    stated[1] = stated[0] if value == "eyes" else value
    result = crop(replace(PHOTO, read_landmarks=lambda: stated))
    assert result == replace(LABEL, reject="the landmarks of the dataset are not those of a face")


def test_a_photo_with_damaged_landmarks_is_rejected(crop: Crop, tmp_path: Path) -> None:
    def damaged() -> np.ndarray:
        raise DatasetError(f"{tmp_path}/source/points/photo.txt: damaged")

    result = crop(replace(PHOTO, read_landmarks=damaged))
    assert result == replace(LABEL, reject="points/photo.txt: damaged")


def test_a_photo_that_its_dataset_rejects_is_rejected(crop: Crop, tmp_path: Path) -> None:
    result = crop(RejectedPhoto("a/b.png", "abc", "the age is not a number"))
    assert (result.source, result.age, result.reject) == (
        "a/b.png",
        "abc",
        "the age is not a number",
    )
    assert not (tmp_path / "out").exists()


def test_photos_are_read_only_as_they_are_needed(image: Image, tmp_path: Path) -> None:
    """Two workers and a listing without end: the first results come."""
    endless = (RejectedPhoto(f"{i}", "", "no photo") for i in count())
    results = crop_photos(tmp_path, tmp_path / "out", endless, tmp_path / "yunet", 2)
    assert [result.source for result in islice(results, 600)] == [f"{i}" for i in range(600)]
    results.close()  # type: ignore[attr-defined]


def test_a_photo_without_a_face_is_rejected(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.datasets.cropping.FaceDetector", lambda model, threads: no_faces)
    source, out, model = tmp_path / "source", tmp_path / "out", tmp_path / "yunet"
    assert crop_photo(source, out, model, PHOTO).reject == "no face found"
    assert not out.exists()


def test_landmark_errors_are_in_eye_distances() -> None:
    stated = np.array([[0, 0], [50, 0], [25, 30], [5, 50], [45, 50]], float)
    assert landmark_error(stated + [3, 4], stated) == pytest.approx(5 / 50)
    one_off = stated.copy()
    one_off[4, 1] += 10
    assert landmark_error(one_off, stated) == pytest.approx(10 / 5 / 50)


def kill_worker() -> np.ndarray:
    signal.raise_signal(signal.SIGKILL)
    raise AssertionError("the process is dead")


def test_a_killed_worker_is_an_error_that_names_the_cure(image: Image, tmp_path: Path) -> None:
    photos = [replace(PHOTO, read_landmarks=kill_worker)]
    results = crop_photos(tmp_path / "source", tmp_path / "out", photos, tmp_path / "yunet", 2)
    with pytest.raises(DatasetError, match="one was killed, .* with fewer --workers"):
        list(results)
