from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.aaf import list_aaf, read_landmarks
from halnet.datasets.source_photo import landmark_error
from halnet.errors import DatasetError


def test_names(tmp_path: Path) -> None:
    folder = tmp_path / "original images"
    folder.mkdir()
    for name in ("07381A30.jpg", "07380A02.jpg", "13321A80.jpg", "Thumbs.db"):
        (folder / name).touch()
    (tmp_path / "key points").mkdir()
    (tmp_path / "key points" / "07381A30.txt").touch()
    photos = list_aaf(tmp_path)
    assert [(p.source, p.age, p.sex) for p in photos] == [
        ("original images/07380A02.jpg", 2, "female"),
        ("original images/07381A30.jpg", 30, "male"),
        ("original images/13321A80.jpg", 80, "male"),
    ]
    assert [p.annotation is not None for p in photos] == [False, True, False]


def test_a_folder_that_is_not_aaf(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="with 'original images' in it"):
        list_aaf(tmp_path)
    with pytest.raises(DatasetError, match="with 'original images' in it"):
        list_aaf(tmp_path / "missing")
    (tmp_path / "original images").mkdir()
    for name in ("cat.jpg", "dog.jpg", "00001A02.jpg"):
        (tmp_path / "original images" / name).touch()
    with pytest.raises(DatasetError, match="found 1 of 3 files"):
        list_aaf(tmp_path)


def test_landmarks_are_picked_and_compared(tmp_path: Path) -> None:
    points = np.arange(98.0).reshape(49, 2)
    path = tmp_path / "points.txt"
    np.savetxt(path, points)
    five = read_landmarks(path)
    np.testing.assert_allclose(five[0], points[19:25].mean(axis=0))
    np.testing.assert_allclose(five[2:], points[[13, 31, 37]])
    # all points 3 pixels off, the eyes 12 * sqrt(2) apart
    eyes = np.linalg.norm(five[0] - five[1])
    assert landmark_error(five + [3, 0], five) == pytest.approx(3 / eyes)
    np.savetxt(path, points[:48])
    with pytest.raises(DatasetError, match="expected 49 lines"):
        read_landmarks(path)


def test_the_real_folder(aaf: Path) -> None:
    photos = list_aaf(aaf)
    assert len(photos) == 11488
    assert {p.age for p in photos} == set(range(2, 81))
    assert all(p.annotation for p in photos)
    left, right, nose, *mouth = read_landmarks(photos[0].annotation)  # type: ignore[arg-type]
    assert left[0] < nose[0] < right[0]
    assert left[1] < nose[1] < min(corner[1] for corner in mouth)
