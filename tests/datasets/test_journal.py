from pathlib import Path

import pytest

from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.journal import Journal
from halnet.errors import DatasetError

RESULTS = [
    PreparedPhoto("a.jpg", 30, 30, "female", "7", {"race": "Black"}, "val", 0.9, hash="0f"),
    PreparedPhoto("Zo\udceb.jpg", reject="the age is not a number", invalid_age="abc"),
]
ORIGIN = {"dataset": "x", "seed": 0}


def _write(path: Path) -> None:
    with Journal(path, ORIGIN) as journal:
        for result in RESULTS:
            journal.append(result)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _write(path)
    with Journal(path, ORIGIN) as journal:
        assert len(journal) == 2
        assert list(journal) == list(journal) == RESULTS
        journal.append(RESULTS[0])
        assert list(journal) == [*RESULTS, RESULTS[0]]


def test_a_line_that_was_cut_off_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _write(path)
    path.write_bytes(path.read_bytes()[:-20])
    with Journal(path, ORIGIN) as journal:
        assert list(journal) == RESULTS[:1]
        journal.append(RESULTS[1])
        assert list(journal) == RESULTS


def test_the_journal_of_another_origin_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _write(path)
    with Journal(path, {**ORIGIN, "seed": 1}) as journal:
        assert len(journal) == 0
        assert list(journal) == []


@pytest.mark.parametrize("line", [b"\0" * 50, b'{"a": 1}', b"[" * 100_000, b"\xff"])
def test_a_damaged_line_is_an_error(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    _write(path)
    header, _, last = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([header, line, last, b""]))
    with Journal(path, ORIGIN) as journal, pytest.raises(DatasetError, match="line 2 is damaged"):
        list(journal)
