"""`halnet plot`: pictures from the CSV files of a run folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.training.training_log import COLUMNS

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A run folder with nothing but a training log, whose last line is cut off."""
    lines = [",".join(COLUMNS)] + [",".join(["1"] * len(COLUMNS))] * 3
    (tmp_path / "training_log.csv").write_text("\n".join(lines))
    return tmp_path


def test_a_training_is_drawn_from_its_log_alone(log: Path, halnet: Halnet, capsys: Capture) -> None:
    assert halnet("plot", log) == 0
    out, err = capsys.readouterr()
    assert out.split() == [str(log / "plots" / "training.png")]
    assert Path(out.strip()).stat().st_size > 10_000
    assert "training_log.csv: the last line is cut off and is left out" in err


def test_the_evaluation_is_drawn_too(log: Path, halnet: Halnet) -> None:
    header = "split,source,sex,label,age,stddev,low,high,adult\n"
    rows = [f"test,{i},,{i},{i + 2},1,{i - 1},{i + 5},0.5\n" for i in range(1, 80)]
    (log / "predictions.csv").write_text(header + "".join(rows))
    assert halnet("plot", log, "--out", log / "there", "--format", "svg") == 0
    assert sorted(p.name for p in (log / "there").iterdir()) == ["test.svg", "training.svg"]


def test_ranges_and_datasets_of_a_run_are_drawn(log: Path, halnet: Halnet) -> None:
    header = "split,source,sex,label,age,stddev,low,high,adult,set,label_low,label_high\n"
    rows = ["val,1,,20,22,1,19,25,0.5,a,20,20\n", "val,2,,,22,1,19,25,0.5,b,3,9\n"]
    (log / "predictions.csv").write_text(header + "".join(rows))
    assert halnet("plot", log, "--format", "svg") == 0
    text = (log / "plots" / "val.svg").read_text()
    assert "<!-- a, inside the 90 % interval -->" in text
    assert "<!-- b, outside the 90 % interval -->" in text
