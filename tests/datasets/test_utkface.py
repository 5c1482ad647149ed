from pathlib import Path

import pytest

from halnet.datasets.source_photo import RejectedPhoto, SourcePhoto
from halnet.datasets.utkface import list_utkface
from halnet.errors import DatasetError


def test_age_sex_and_race_come_from_the_names(tmp_path: Path) -> None:
    names = (
        "116_1_3_20170120134744096.jpg.chip.jpg",
        "25_0_4_20170116174525125.jpg.chip.jpg",
        "39_1_20170116174525125.jpg.chip.jpg",
        "250_0_0_20170116174525125.jpg.chip.jpg",
        "labels.txt",
    )
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "9_0_1_20170116174525125.jpg.chip.jpg").touch()
    listing = list_utkface(tmp_path)
    assert listing.photos == [
        SourcePhoto(names[0], 116, 116, "female", groups=(("race", "Indian"),)),
        SourcePhoto(names[1], 25, 25, "male", groups=(("race", "others"),)),
        SourcePhoto(
            "9_0_1_20170116174525125.jpg.chip.jpg", 9, 9, "male", groups=(("race", "Black"),)
        ),
    ]
    wrong = "the name is not AGE_SEX_RACE_DATE.jpg.chip.jpg"
    assert listing.rejects == [
        RejectedPhoto(names[3], "250", "the age is above 125"),
        RejectedPhoto(names[2], "", wrong),
        RejectedPhoto("labels.txt", "", wrong),
    ]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        ([], "0 such files among 0"),
        (["cat.jpg", "dog.jpg", "1_0_0_1.jpg.chip.jpg"], "1 such files among 3"),
    ],
)
def test_another_folder_is_refused(names: list[str], count: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DatasetError, match=f"found {count}; name the UTKFace folder"):
        list_utkface(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected photos with names like 25_1_2"):
        list_utkface(tmp_path / "missing")


def test_the_real_folder(utkface: Path) -> None:
    listing = list_utkface(utkface)
    assert len(listing.photos) == 15_869
    assert len(listing.rejects) == 4
    assert {photo.age_low for photo in listing.photos} <= set(range(117))
