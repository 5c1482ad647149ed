from collections import Counter
from pathlib import Path

import pytest

from halnet.datasets.fairface import list_fairface
from halnet.datasets.source_photo import RejectedPhoto, SourcePhoto
from halnet.errors import DatasetError

HEADER = "file,age,gender,race,service_test\n"


def test_ranges_sex_and_race_come_from_the_tables(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name in ("._1.jpg", "1.jpg", "2.jpg", "extra.jpg"):
        (tmp_path / "train" / name).touch()
    (tmp_path / "fairface_label_train.csv").write_text(
        HEADER
        + "train/2.jpg,3-9,Male,East Asian,True\n"
        + "train/1.jpg,more than 70,Female,Black,False\n"
        + "train/3.jpg,young,Female,Black,False\n"
    )
    (tmp_path / "fairface_label_val.csv").write_text(HEADER + "val/1.jpg,60-69,,,False\n")
    listing = list_fairface(tmp_path)
    assert listing.photos == [
        SourcePhoto("train/2.jpg", 3, 9, "male", groups=(("race", "East Asian"),)),
        SourcePhoto("train/1.jpg", 70, 100, "female", groups=(("race", "Black"),)),
        SourcePhoto("val/1.jpg", 60, 69),
    ]
    assert listing.rejects == [
        RejectedPhoto("train/3.jpg", "young", "the age group is unknown"),
        RejectedPhoto("train/._1.jpg", "", "a file that macOS adds"),
        RejectedPhoto("train/extra.jpg", "", "no table lists the photo"),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "expected the FairFace folder with a table"),
        (b"file,age\n1.jpg,3-9\n", "found no column gender, race; name the FairFace folder"),
        (b"", "found no column file, age, gender, race"),
        (
            HEADER.encode(),
            "expected a row for each photo in the tables .*, found no rows; download",
        ),
        (HEADER.encode() + b"\xff\n", "found a damaged file"),
    ],
)
def test_another_folder_is_refused(table: bytes | None, message: str, tmp_path: Path) -> None:
    if table is not None:
        (tmp_path / "fairface_label_train.csv").write_bytes(table)
    with pytest.raises(DatasetError, match=message):
        list_fairface(tmp_path)


def test_the_real_folder(fairface: Path) -> None:
    listing = list_fairface(fairface)
    assert len(listing.photos) == 3227
    assert not listing.rejects
    ranges = Counter((photo.age_low, photo.age_high) for photo in listing.photos)
    assert ranges[70, 100] == 315
    assert set(ranges.values()) == {315, 364}
