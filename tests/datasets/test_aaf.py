import pickle
from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.aaf import list_aaf, read_landmarks
from halnet.datasets.source_photo import RejectedPhoto
from halnet.errors import DatasetError


def test_age_sex_and_landmarks_come_from_the_names(tmp_path: Path) -> None:
    folder = tmp_path / "original images"
    folder.mkdir()
    for name in ("07381A30.jpg", "07380A02.jpg", "13321A80.jpg", "Thumbs.db"):
        (folder / name).touch()
    (tmp_path / "key points").mkdir()
    points = np.arange(98.0).reshape(49, 2)
    np.savetxt(tmp_path / "key points" / "07381A30.txt", points)
    listing = list_aaf(tmp_path)
    photos = listing.photos
    assert [(p.source, p.age_low, p.age_high, p.sex) for p in photos] == [
        ("original images/07380A02.jpg", 2, 2, "female"),
        ("original images/07381A30.jpg", 30, 30, "male"),
        ("original images/13321A80.jpg", 80, 80, "male"),
    ]
    assert listing.rejects == [
        RejectedPhoto("original images/Thumbs.db", "", "the name is not like 00001A02.jpg")
    ]
    assert [p.read_landmarks is None for p in photos] == [True, False, True]
    for photo in (photos[1], pickle.loads(pickle.dumps(photos[1]))):
        assert photo.read_landmarks is not None
        np.testing.assert_array_equal(photo.read_landmarks()[2:], points[[13, 31, 37]])


def test_files_with_other_names_are_rejects(tmp_path: Path) -> None:
    """A copy by a Mac has as many files again, which do not make it another folder."""
    folder = tmp_path / "original images"
    folder.mkdir()
    photos = [f"0000{serial}A30.jpg" for serial in range(4)]
    others = ["00005A30.JPG", "00006A105.jpg", "00007A5.jpg"]
    macos = [".DS_Store", *(f"._{name}" for name in photos)]
    for name in (*photos, *others, *macos):
        (folder / name).touch()
    listing = list_aaf(tmp_path)
    assert [photo.source for photo in listing.photos] == [f"original images/{n}" for n in photos]
    reasons = {reject.source.split("/")[1]: reject.reason for reject in listing.rejects}
    assert reasons == {
        **dict.fromkeys(others, "the name is not like 00001A02.jpg"),
        **dict.fromkeys(macos, "a file that macOS adds"),
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, "expected the All-Age-Faces folder with the folder 'original images' in it"),
        (
            ["cat.jpg", "dog.jpg", "00001A02.jpg"],
            "found 1 such files among 3; name",
        ),
        ([], "found 0 such files among 0"),
    ],
)
def test_another_folder_is_refused(names: list[str] | None, message: str, tmp_path: Path) -> None:
    if names is not None:
        (tmp_path / "original images").mkdir()
        for name in names:
            (tmp_path / "original images" / name).touch()
    with pytest.raises(DatasetError, match=message):
        list_aaf(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="with the folder 'original images' in it, found none"):
        list_aaf(tmp_path / "missing")


def test_five_of_49_landmarks_are_read(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(0, 200, (49, 2))
    path = tmp_path / "points.txt"
    np.savetxt(path, points)
    five = read_landmarks(path)
    np.testing.assert_allclose(five[0], points[19:25].mean(axis=0))
    np.testing.assert_allclose(five[1], points[25:31].mean(axis=0))
    np.testing.assert_allclose(five[2:], points[[13, 31, 37]])


@pytest.mark.parametrize("text", ["1 2\n3 4\n", "nonsense"])
def test_a_file_without_49_landmarks_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text(text)
    with pytest.raises(DatasetError, match=r"points\.txt: expected 49 lines 'x y'"):
        read_landmarks(path)


def test_landmarks_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected 49 lines 'x y'"):
        read_landmarks(tmp_path)  # a folder: only its name is that of a file


def test_the_real_folder(aaf: Path) -> None:
    listing = list_aaf(aaf)
    photos = listing.photos
    assert len(photos) == 11488
    assert not listing.rejects
    assert {p.age_low for p in photos} == set(range(2, 81))
    assert all(p.read_landmarks for p in photos)
    assert photos[0].read_landmarks is not None
    left, right, nose, *mouth = photos[0].read_landmarks()
    assert left[0] < nose[0] < right[0]
    assert left[1] < nose[1] < min(corner[1] for corner in mouth)
