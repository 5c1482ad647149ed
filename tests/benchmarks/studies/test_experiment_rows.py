import pytest

from halnet.benchmarks.studies.experiment_rows import TABLES, Row, base_options
from halnet.commands.train import command
from halnet.training.config import TrainConfig

ROWS = [(table, row) for table, (rows, _) in TABLES.items() for row in rows]


@pytest.mark.parametrize("table", list(TABLES))
def test_every_row_has_its_own_name(table: str) -> None:
    names = [row.name for row in TABLES[table][0]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{table}-{row.name}" for table, row in ROWS])
def test_every_row_has_options_that_halnet_train_takes(table: str, row: Row) -> None:
    options = row.options().replace("the base recipe", "").strip("`").split()
    parsed = command.make_context("train", [*options, "--data", "d", "--out", "o"]).params
    wanted = row.config(TABLES[table][1], 0)
    for name in row.changes:
        expected = getattr(wanted, name)
        assert parsed[name] == (_join(wanted) if name == "stages" else expected), name


def _join(config: TrainConfig) -> str:
    return ",".join(map(str, config.stages))


def test_the_options_of_a_base_recipe() -> None:
    assert base_options(TABLES["ablations"][1]) == (
        "--weights select:timm:tf_efficientnet_lite0 --photos 1000 --stages 224x3 "
        "--warmup-epochs 0.5 --ema-decay 0.95"
    )
