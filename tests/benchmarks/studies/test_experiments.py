from pathlib import Path

import pytest
from click.testing import CliRunner

from halnet.benchmarks.studies.experiments import TABLES, main
from halnet.commands.train import command
from halnet.training.config import Stage, TrainConfig

TINY = TrainConfig(stages=(Stage(32, 1), Stage(224, 1)), batch_size=12, photos=24)


def test_every_row_is_a_command_that_halnet_train_takes() -> None:
    for rows, base in TABLES.values():
        assert len({row.name for row in rows}) == len(rows)
        for row in rows:
            args = row.options(base).replace("the base", "").split()
            args = [*args, "--data", "d", "--out", "o"]
            parsed = command.make_context("train", args).params
            wanted = row.config(base, 0)
            for name in row.changes:
                value = parsed[name]
                assert value == (_text(wanted) if name == "stages" else getattr(wanted, name)), name


def _text(config: TrainConfig) -> str:
    return ",".join(map(str, config.stages))


def test_a_table_is_trained_and_goes_on_where_it_stopped(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TABLES, "baselines", (TABLES["baselines"][0], TINY))
    args = ["baselines", "--data", str(prepared), "--out", str(tmp_path), "--rows", "ca,se"]
    done = CliRunner().invoke(main, args, catch_exceptions=False)
    lines = done.stdout.splitlines()
    start = "--weights select:timm:tf_efficientnet_lite0"
    assert lines[0] == f"Base: `{start} --photos 24 --stages 32x1,224x1 --batch-size 12`"
    assert [line.split(" | ")[2:4] for line in lines[4:]] == [["3.13", "0.22"], ["4.33", "0.22"]]
    before = {p: p.read_bytes() for p in tmp_path.glob("*/training_log.csv")}
    assert len(before) == 2
    again = CliRunner().invoke(main, args, catch_exceptions=False)
    assert len(again.stdout.splitlines()) == len(lines)
    assert {p: p.read_bytes() for p in before} == before
    wrong = CliRunner().invoke(main, [*args[:-1], "resnet9"])
    assert "no row resnet9" in wrong.output
    assert wrong.exit_code == 2
