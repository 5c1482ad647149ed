from pathlib import Path

import pytest

from halnet.datasets.csv_table import open_table
from halnet.errors import DatasetError

TEXT = "path{0}age\nJosé.jpg{0}30\n\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("latin-1", "latin-1"),
    ],
)
def test_encodings_and_delimiters_are_found(
    delimiter: str, encoding: str, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(TEXT.format(delimiter).encode(encoding))
    table = open_table(path)
    assert (table.encoding, table.delimiter) == (found, delimiter)
    assert table.columns == ("path", "age")
    assert list(table.rows()) == [(2, ["José.jpg", "30"])]
    assert list(table.rows()) == list(table.rows())


def test_big_endian_utf_16_with_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"\xfe\xff" + 'path, age \r\n"a, b.jpg",30\r\n'.encode("utf-16-be"))
    table = open_table(path)
    assert table.columns == ("path", "age")
    assert [row for _, row in table.rows()] == [["a, b.jpg", "30"]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "found an empty file; name another file"),
        (b"\xef\xbb\xbf", "found an empty file; name another file"),
        (b"\n\npath,age\n", "found an empty line"),
        (b"PK\x03\x04\x00\x00 a spreadsheet", "found a file that is not text; save the table as"),
        (b"\xff\xfep", "found none that can be read .damaged UTF-16."),
    ],
)
def test_a_file_that_is_no_table_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=message):
        open_table(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file or directory.; name a CSV file"):
        open_table(tmp_path / "missing.csv")
    with pytest.raises(DatasetError, match="Is a directory.; name a CSV file"):
        open_table(tmp_path)


def test_a_quote_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('path,age\na.jpg,30\n"b.jpg,30\n' + "c.jpg,30\n" * 20_000)
    rows = open_table(path).rows()
    assert next(rows) == (2, ["a.jpg", "30"])
    with pytest.raises(DatasetError, match=r"damaged row after line \d+ .field larger than"):
        list(rows)
