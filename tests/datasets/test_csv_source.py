import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from halnet.datasets.csv_source import CsvColumns, list_csv
from halnet.datasets.source_photo import RejectedPhoto, SourcePhoto
from halnet.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three files, and one file outside of it."""
    (tmp_path / "outside.jpg").touch()
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "sub/c.jpg", "José.jpg"):
        (folder / name).touch()
    return folder


def _write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "photos.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_all_columns_are_read(folder: Path) -> None:
    path = _write(
        folder,
        "camera,path,age,sex,person,split,skin tone,\n"
        "old, a.jpg ,30,F,7,,dark,x\n"
        ",./sub//c.jpg,104.0,Male,,Validation,,\n"
        "new,b.jpg,29.9,unknown\n",
    )
    listing = list_csv(path)
    assert listing.root == folder
    assert not listing.rejects
    assert listing.photos == [
        SourcePhoto("a.jpg", 30, 30, "female", "7", (("camera", "old"), ("skin tone", "dark")), ""),
        SourcePhoto("sub/c.jpg", 104, 104, "male", "", (), "val"),
        SourcePhoto("b.jpg", 29, 29, "", "", (("camera", "new"),), ""),
    ]


def test_an_age_may_be_a_range(folder: Path) -> None:
    path = _write(folder, "path;age;age_low;age_high\na.jpg;;3;9\nb.jpg;5;3;9\n")
    assert list_csv(path).photos == [SourcePhoto("a.jpg", 3, 9), SourcePhoto("b.jpg", 5, 5)]
    path = _write(folder, "path;age_low;age_high\na.jpg;70;100\n")
    assert list_csv(path).photos == [SourcePhoto("a.jpg", 70, 100)]


@pytest.mark.parametrize(
    ("row", "age", "reason"),
    [
        ("a.jpg,abc,,,,", "abc", "the age is not a number"),
        ("a.jpg,nan,,,,", "nan", "the age is not a number"),
        ("a.jpg,-3,,,,", "-3", "the age is below 0"),
        ("a.jpg,250,,,,", "250", "the age is above 125"),
        ("a.jpg,,,,,", "", "the age is empty"),
        ("a.jpg,,9,3,,", "9-3", "the lowest age is above the highest age"),
        ("a.jpg,,9,,,", "9-", "the age is empty"),
        ("a.jpg,,3,x,,", "3-x", "the age is not a number"),
        ("../outside.jpg,30,,,,", "30", "the path leads out of the folder of the CSV file"),
        ("sub/../../outside.jpg,30,,,,", "30", "the path leads out of the folder of the CSV file"),
        (
            "/etc/hosts,30,,,,",
            "30",
            "the path is absolute, not relative to the folder of the CSV file",
        ),
        ("missing.jpg,30,,,,", "30", "the file does not exist"),
        ("sub,30,,,,", "30", "the file does not exist"),
        (".,30,,,,", "30", "the path is not the path of a file"),
        ("a.jpg,30,,,x,", "30", "the sex is not female, male or empty"),
        ("a.jpg,30,,,,x", "30", "the split is not train, val or test"),
        ("a.jpg,30,,,,,,", "30", "the row has more fields than there are columns"),
        ("b.jpg,30,,,,", "30", "the table lists the photo more than once"),
    ],
)
def test_a_wrong_row_is_rejected_with_a_reason(
    row: str, age: str, reason: str, folder: Path
) -> None:
    path = _write(folder, f"path,age,age_low,age_high,sex,split\nb.jpg,8,,,,\n{row}\n")
    listing = list_csv(path)
    assert [photo.source for photo in listing.photos] == ["b.jpg"]
    assert listing.rejects == [RejectedPhoto(row.split(",", maxsplit=1)[0], age, reason)]


def test_a_row_without_a_path_is_named_by_its_line(folder: Path) -> None:
    path = _write(folder, "path,age\na.jpg,1\n\n,30\n")
    assert list_csv(path).rejects == [RejectedPhoto("line 4", "30", "the path is empty")]


def test_columns_can_have_other_names(folder: Path) -> None:
    path = _write(folder, "file,years,age\na.jpg,30,young\n")
    columns = CsvColumns(path="file", age="years")
    assert list_csv(path, columns).photos == [
        SourcePhoto("a.jpg", 30, 30, groups=(("age", "young"),))
    ]


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("file,age", CsvColumns(), "columns path, and age or both age_low and age_high, found the"),
        ("path,age_low", CsvColumns(), "found the columns path, age_low; rename them, or name"),
        (
            "path,age",
            CsvColumns(age="years"),
            "the columns years, found the columns path",
        ),
        ("path,age", CsvColumns(person="id"), "with the columns id, found"),
        ("path,age,age", CsvColumns(), "found several columns age; rename them"),
    ],
)
def test_wrong_columns_are_one_error(
    header: str, columns: CsvColumns, message: str, folder: Path
) -> None:
    with pytest.raises(DatasetError, match=message):
        list_csv(_write(folder, f"{header}\na.jpg,30\n"), columns)


@pytest.mark.parametrize("text", ["path,age", "path,age\n", "path;age\r\n\r\n\r\n"])
def test_a_table_without_rows_is_refused(text: str, folder: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"photos\.csv: .* no row after .* columns; add rows, or"
    ):
        list_csv(_write(folder, text))


def test_latin_1_is_the_last_resort(folder: Path) -> None:
    listing = list_csv(_write(folder, "path,age\nJosé.jpg,30\nZoë.jpg,31\n", "latin-1"))
    assert listing.photos == [SourcePhoto("José.jpg", 30, 30)]
    reason = "the file does not exist (the CSV file is not UTF-8 and was read as Latin-1)"
    assert listing.rejects == [RejectedPhoto("Zoë.jpg", "31", reason)]


def test_a_long_table_needs_no_memory(folder: Path) -> None:
    rows = "a.jpg,30,x\nmissing.jpg,30,x\nb.jpg,abc,x\n" * 20_000
    path = _write(folder, "path,age,camera\n" + rows)
    listing = list_csv(path)
    counts: Counter[str] = Counter()
    tracemalloc.start()
    for item in listing:
        counts[item.reason if isinstance(item, RejectedPhoto) else "photo"] += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000, "bytes; the rows have 1.4 million"
    assert counts == {
        "photo": 1,
        "the table lists the photo more than once": 19_999,
        "the file does not exist": 20_000,
        "the age is not a number": 20_000,
    }
