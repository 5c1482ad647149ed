import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from halnet.benchmarks.studies import left_out
from halnet.benchmarks.studies.left_out import COLUMNS, main
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.training.config import Stage, TrainConfig

TINY = TrainConfig(stages=(Stage(32, 1), Stage(224, 1)), batch_size=12)


def test_each_dataset_is_left_out_of_the_training_and_evaluated(
    prepared: Path,
    make_prepared_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranges = make_prepared_folder(240, "ranges", first=1000, years=10)
    monkeypatch.setattr(left_out, "SMALL", TINY)
    args = ["--data", str(prepared), "--data", str(ranges), "--out", str(tmp_path)]
    args += ["--weights", "none", "--photos", "24", "--limit", "30"]
    done = CliRunner().invoke(main, args, catch_exceptions=False)
    head, _, *rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    assert head == list(COLUMNS)
    exact = PreparedDataset(prepared).dataset
    assert [row[:2] for row in rows] == [[exact, "30"], ["ranges", "30"]]
    for row, home in zip(rows, ("ranges", exact), strict=True):
        assert row[-1].startswith(f"{home} "), "the interval is compared with that at home"
        report = json.loads((tmp_path / row[0] / "report.json").read_text())
        assert report["dataset"] == home, "the model knows the other dataset alone"
    before = {path: path.read_bytes() for path in tmp_path.glob("*/training_log.csv")}
    assert len(before) == 2
    again = CliRunner().invoke(main, args, catch_exceptions=False)
    assert again.stdout == done.stdout
    assert {path: path.read_bytes() for path in before} == before, "nothing was trained again"


def test_one_dataset_is_refused(prepared: Path, tmp_path: Path) -> None:
    args = ["--data", str(prepared), "--out", str(tmp_path), "--weights", "none"]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 2
    assert "expected two or more --data folders" in done.output
