from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.datasets.afad import list_afad
from halnet.datasets.source_photo import RejectedPhoto, SourcePhoto
from halnet.errors import DatasetError

PHOTOS = ("9/112/1.jpg", "30/111/7-0.jpg", "30/112/8.jpg")


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_age_and_sex_come_from_the_folders(tmp_path: Path) -> None:
    _touch(tmp_path, *PHOTOS, "126/111/5.jpg", "30/113/1.jpg", "README")
    listing = list_afad(tmp_path)
    assert listing.photos == [
        SourcePhoto("30/111/7-0.jpg", 30, 30, "male"),
        SourcePhoto("30/112/8.jpg", 30, 30, "female"),
        SourcePhoto("9/112/1.jpg", 9, 9, "female"),
    ]
    wrong = "the path is not AGE/111/ID.jpg or AGE/112/ID.jpg"
    assert listing.rejects == [
        RejectedPhoto("126/111/5.jpg", "126", "the age is above 125"),
        RejectedPhoto("30/113/1.jpg", "", wrong),
        RejectedPhoto("README", "", wrong),
    ]


def test_what_is_no_photo_is_a_reject(tmp_path: Path) -> None:
    _touch(tmp_path / "afad", *PHOTOS, "30/111/9.JPG", "30/111/._7-0.jpg")
    _touch(tmp_path / "other", "1.jpg")
    (tmp_path / "afad/40").symlink_to(tmp_path / "other")
    assert list_afad(tmp_path / "afad").rejects == [
        RejectedPhoto("30/111/._7-0.jpg", "", "a file that macOS adds"),
        RejectedPhoto("30/111/9.JPG", "", "the path is not AGE/111/ID.jpg or AGE/112/ID.jpg"),
        RejectedPhoto("40", "", "a link to a folder, which is not followed"),
    ]


def test_a_folder_that_cannot_be_read_is_a_reject(
    tmp_path: Path, make_unreadable: Callable[[str], None]
) -> None:
    _touch(tmp_path, *PHOTOS, "40/111/1.jpg")
    make_unreadable("40")
    listing = list_afad(tmp_path)
    assert len(listing.photos) == 3
    assert listing.rejects == [RejectedPhoto("40", "", "the folder cannot be read")]


@pytest.mark.parametrize(
    ("names", "count"),
    [([], "0 .* 0"), (["1.jpg", "2.jpg", "30/111/1.jpg"], "1 .* 3")],
)
def test_another_folder_is_refused(names: list[str], count: str, tmp_path: Path) -> None:
    _touch(tmp_path, *names)
    with pytest.raises(DatasetError, match=f"found {count}; name the AFAD folder"):
        list_afad(tmp_path)


def test_the_real_folder(afad: Path) -> None:
    listing = list_afad(afad)
    assert len(listing.photos) == 1871
    assert not listing.rejects
    assert {photo.sex for photo in listing.photos} == {"male", "female"}
