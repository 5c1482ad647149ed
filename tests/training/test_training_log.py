from pathlib import Path

import pytest

from halnet.errors import ConfigError
from halnet.training.training_log import (
    COLUMNS,
    describe_error,
    read_log,
    set_errors,
    write_log,
)

ROWS = [{name: str(epoch + i / 100) for i, name in enumerate(COLUMNS)} for epoch in (1, 2, 3)]


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "training_log.csv"
    assert read_log(path).rows == ()
    write_log(path, ROWS)
    log = read_log(path)
    assert list(log.rows) == ROWS
    assert not log.cut_off


def test_an_incomplete_last_line_is_left_out(tmp_path: Path) -> None:
    """The complete lines are read wherever the file is cut off, and nothing else."""
    path = tmp_path / "training_log.csv"
    write_log(path, ROWS)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(ends[0], len(whole)):
        path.write_bytes(whole[:length])
        log = read_log(path)
        assert list(log.rows) == ROWS[: sum(end <= length for end in ends) - 1]
        assert log.cut_off == (length not in ends)


def test_another_damaged_line_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "training_log.csv"
    write_log(path, ROWS)
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:9]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match="line 3 is damaged"):
        read_log(path)


def test_a_log_has_the_errors_of_each_dataset(tmp_path: Path) -> None:
    path = tmp_path / "training_log.csv"
    errors = {"val_mae_a, b": "4.5", "val_distance_fairface": "2.5"}
    write_log(path, [{**row, **errors} for row in ROWS])
    rows = read_log(path).rows
    assert list(rows) == [{**row, **errors} for row in ROWS]
    assert list(rows[0]) == [*COLUMNS, *errors]
    assert set_errors(rows[0]) == errors
    assert set_errors(ROWS[0]) == {}
    assert [describe_error(name) for name in errors] == [
        "a, b, MAE",
        "fairface, distance to the range",
    ]
