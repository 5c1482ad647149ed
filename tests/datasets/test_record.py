from pathlib import Path

import pytest

from halnet.datasets.record import Record, exact_records, read_index, spread
from halnet.errors import DatasetError

EXACT, RANGE = Record("a.jpg", 30, 30), Record("b.jpg", 3, 9, groups={"race": "Black"})


def test_an_exact_age() -> None:
    assert EXACT.is_exact
    assert EXACT.age == 30


def test_a_range_has_no_age() -> None:
    assert not RANGE.is_exact
    with pytest.raises(DatasetError, match="b.jpg: expected an exact age, found the range 3-9"):
        _ = RANGE.age


def test_records_with_exact_ages() -> None:
    assert exact_records([EXACT, RANGE]) == (EXACT,)
    assert exact_records([]) == ()
    with pytest.raises(DatasetError, match="ranges for all 2 photos, such as 3-9; use a dataset"):
        exact_records([RANGE, RANGE])


def test_records_are_spread() -> None:
    records = [Record(f"{i}", i, i) for i in range(10)]
    assert [record.age for record in spread(records, 4)] == [0, 2, 5, 7]
    assert spread(records, 0) == spread(records, 10) == spread(records, 11) == tuple(records)


def test_records_can_be_in_a_set() -> None:
    assert len({RANGE, Record("b.jpg", 3, 9, groups={"race": "Black"}), EXACT}) == 2


def test_columns_are_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    path.write_text(
        "hash,split,source,age_high,age_low,sex,person,group:race,group:camera,landmarks,"
        "eye_distance,width,height,score,later\n"
        "00000000000000ff,val,a.jpg,9,3,female,7,Black,,1.5 2 3 4 5 6 7 8 9 10,56.2,300,200,0.9,x\n"
        ",test,b.jpg,30,30,,,,,,,,,,\n"
    )
    assert read_index(path) == (
        Record(
            source="a.jpg",
            age_low=3,
            age_high=9,
            sex="female",
            person="7",
            split="val",
            groups={"race": "Black"},
            hash=255,
            score=0.9,
            width=300,
            height=200,
            eye_distance=56.2,
            landmarks=(1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        ),
        Record("b.jpg", 30, 30, split="test"),
    )


def test_the_index_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    path.write_text(
        "source,age,sex,split,score,faces,landmark_error\n"
        "original images/00001A02.jpg,2,female,train,0.9283,1,0.0908\n"
    )
    assert read_index(path) == (
        Record("original images/00001A02.jpg", 2, 2, "female", split="train", score=0.9283),
    )


GOOD = "source,age,sex,split\na.jpg,3,,val\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no column source, sex, split"),
        ("source,age\na.jpg,x\n", "no column sex, split"),
        ("source,age_low,sex,split\na.jpg,3,,val\n", "no column age_low and age_high"),
        (GOOD + "b.jpg,x,,val\n", "a damaged row near line 3"),
        (GOOD + "b.jpg,,,val\n", "a damaged row near line 3"),
        (GOOD + "b.jpg,3\n", "a damaged row near line 3"),
        (GOOD + "b.jpg,3,,val,9\n", "a damaged row near line 3"),
        (GOOD + "b.jpg,3,,va", "a last line that is cut off"),
        (GOOD + '"' + "b" * 200_000 + "\n", "a damaged row near line 2"),
        ("x" * 200_000 + "\n", "a damaged row near line 0"),
        (GOOD + "b.jpg,101,,val\n", "a damaged row near line 3"),
        (GOOD + "b.jpg,-1,,val\n", "a damaged row near line 3"),
        (GOOD + ",3,,val\n", "a damaged row near line 3"),
        (GOOD + "../b.jpg,3,,val\n", "a damaged row near line 3"),
        (GOOD + "/b.jpg,3,,val\n", "a damaged row near line 3"),
        ("source,age,sex,split,hash\na.jpg,3,,val,-1\n", "a damaged row near line 2"),
    ],
)
def test_a_damaged_index_is_refused_in_plain_words(text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    path.write_text(text)
    with pytest.raises(DatasetError) as error:
        read_index(path)
    assert str(error.value) == (
        f"{path}: expected the index of a prepared dataset, found {found}; run halnet prepare into "
        "this folder again, which writes a new index"
    )


def test_a_missing_index_is_refused_in_plain_words(tmp_path: Path) -> None:
    message = r"found none that can be read \(No such file or directory\); run halnet prepare"
    with pytest.raises(DatasetError, match=message):
        read_index(tmp_path / "index.csv")
