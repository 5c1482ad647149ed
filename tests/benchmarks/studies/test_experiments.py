import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from halnet.benchmarks.studies import experiments
from halnet.benchmarks.studies.experiment_rows import TABLES
from halnet.benchmarks.studies.experiments import count_gmac, main, print_ablations
from halnet.errors import RuntimeUnavailableError
from halnet.network.model import AgeNet
from halnet.training.config import Stage, TrainConfig

TINY = TrainConfig(stages=(Stage(32, 1), Stage(224, 1)), batch_size=12, photos=24)


def test_a_table_is_trained_and_a_second_run_trains_nothing_again(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLES, "baselines", (TABLES["baselines"][0], TINY))
    args = ["baselines", "--data", str(prepared), "--out", str(tmp_path), "--rows", "ca,se"]
    done = CliRunner().invoke(main, args, catch_exceptions=False)
    lines = done.stdout.splitlines()
    start = "--weights select:timm:tf_efficientnet_lite0"
    base = f"{start} --photos 24 --stages 32x1,224x1 --batch-size 12"
    assert lines[0] == f"The base recipe is `{base}`."
    assert [line.split(" | ")[2:4] for line in lines[4:]] == [["3.13", "0.22"], ["4.33", "0.22"]]
    before = {p: p.read_bytes() for p in tmp_path.glob("*/training_log.csv")}
    assert len(before) == 2
    monkeypatch.setattr(experiments, "_speeds", lambda checkpoints: [1.0] * len(checkpoints))
    again = CliRunner().invoke(main, args, catch_exceptions=False)
    assert len(again.stdout.splitlines()) == len(lines)
    assert {p: p.read_bytes() for p in before} == before


def test_an_unknown_row_is_refused() -> None:
    args = ["baselines", "--data", "data", "--out", "out", "--rows", "ca,resnet9"]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 2
    assert "found resnet9" in done.output


def test_rows_that_need_a_teacher_are_refused_without_one() -> None:
    done = CliRunner().invoke(main, ["ablations", "--data", "data", "--out", "out"])
    assert done.exit_code == 2
    assert "need --teacher" in done.output


@dataclass(frozen=True)
class Result:
    """The part of a training's result that the table of ablations shows."""

    mae: float

    @property
    def val(self) -> "Result":
        return self

    @property
    def overall(self) -> "Result":
        return self


@pytest.mark.parametrize(
    ("maes", "head", "cell"),
    [
        ([10.444], "validation MAE, years", "10.44"),
        (
            [10.5, 11.0, 10.0],
            "validation MAE, years: mean of 3 seeds (smallest to largest)",
            "10.50 (10.00 to 11.00)",
        ),
    ],
)
def test_the_table_of_ablations(
    maes: list[float], head: str, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = TABLES["ablations"][0][1:3]
    print_ablations(rows, {row.name: [Result(mae) for mae in maes] for row in rows})
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["recipe", "options", head]
    assert lines[2] == ["random weights", "`--weights none`", cell]
    assert lines[3][1:] == ["`--backbone mobilenet_v3_large`", cell]


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "halnet.training.trainer", raising=False)
    args = ["ablations", "--data", "data", "--out", "out", "--rows", "base"]
    with pytest.raises(RuntimeUnavailableError, match=r"experiments needs .*'halnet\[train\]'"):
        CliRunner().invoke(main, args, catch_exceptions=False)


def test_multiply_accumulate_operations_are_counted() -> None:
    """A fresh network, because the weights do not matter."""
    assert count_gmac(AgeNet()) == pytest.approx(0.22, abs=0.005)
