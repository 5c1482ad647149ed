"""halnet train: its options become a recipe, and its output states each dataset."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.datasets.record import Record
from halnet.evaluation.metrics import evaluate
from halnet.evaluation.predictions import Predictions, to_predictions
from halnet.network.checkpoint import load_checkpoint
from halnet.results import Outputs
from halnet.training import trainer
from halnet.training.config import Share, Stage, TrainConfig
from halnet.training.run_report import TrainResult

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]

EPOCH = {
    "epoch": 2,
    "size": 224,
    "train_loss": 1.5,
    "val_mae": 3.75,
    "val_mae_aaf": 5,
    "val_distance_fairface": 2.5,
    "images_per_second": 20,
    "data_wait_share": 0.01,
}


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    """Two photos of exact ages with an error of 2 years, and two ranges of 10 years."""
    records = [
        Record("a", 20, 20, dataset="aaf"),
        Record("b", 40, 40, dataset="aaf"),
        Record("c", 20, 29, dataset="fairface"),
        Record("d", 40, 49, dataset="fairface"),
    ]
    ages = np.array([22, 38, 25, 54], np.float32)
    outputs = Outputs(ages, np.full(4, 3, np.float32), np.full((4, 101), 1 / 101, np.float32))
    calibration = load_checkpoint(bundled("halnet.safetensors")).metadata.calibration
    return to_predictions(outputs, records, calibration)


def epoch_of(sets: int) -> dict[str, float]:
    """Return the values of an epoch on one dataset, which has ranges, or on two."""
    return {k: v for k, v in EPOCH.items() if sets > 1 or k != "val_mae_aaf"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, predictions: Predictions) -> list[dict[str, Any]]:
    """The arguments of the trainings that the command starts. Nothing is trained."""
    found: list[dict[str, Any]] = []

    def train(data: Any, out: Path, config: TrainConfig, **options: Any) -> TrainResult:
        found.append({"data": data, "out": out, "config": config, **options})
        options["on_note"]("aaf: no validation photos")
        options["on_epoch"](epoch_of(len(data)))
        names = np.array(predictions.dataset)
        parts = {n: evaluate(predictions.select(names == n)) for n in ("aaf", "fairface")}
        sets = {n: parts[n] for n in [path.name for path in data] if n in parts}
        whole = evaluate(predictions)
        return TrainResult(out / "best", whole, whole, (), sets, sets, keeps_calibration=False)

    monkeypatch.setattr(trainer, "train", train)
    return found


def test_the_options_become_a_recipe(
    halnet: Halnet, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    arguments = "--share aaf=2 --share fairface=0.5 --balance 0.3 --degrade 0.5 --jitter 1.5"
    more = "--degradations jpeg,blur --teacher t1 --teacher t2 --stages 128x2,224x1"
    data = ["--data", "x/aaf", "--data", "x/fairface"]
    assert halnet("train", *data, "--out", tmp_path, *arguments.split(), *more.split()) == 0
    (call,) = calls
    assert call["data"] == (Path("x/aaf"), Path("x/fairface"))
    assert call["teachers"] == (Path("t1"), Path("t2"))
    assert call["config"] == TrainConfig(
        stages=(Stage(128, 2), Stage(224, 1)),
        shares=(Share("aaf", 2.0), Share("fairface", 0.5)),
        balance=0.3,
        degrade=0.5,
        degradations="jpeg,blur",
        jitter=1.5,
    )


def test_without_options_the_recipe_is_the_default(
    halnet: Halnet, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert halnet("train", "--data", "aaf", "--out", tmp_path) == 0
    assert calls[0]["config"] == TrainConfig()
    assert calls[0]["teachers"] == ()


def test_the_output_states_each_dataset(
    halnet: Halnet, calls: list[dict[str, Any]], tmp_path: Path, capsys: Capture
) -> None:
    assert halnet("train", "--data", "aaf", "--data", "fairface", "--out", tmp_path) == 0
    out, err = capsys.readouterr()
    assert (
        "mean validation error over the datasets 3.750 years (aaf, MAE 5.000; fairface, distance "
        "to the range 2.500), "
    ) in err
    assert err.splitlines()[0] == "aaf: no validation photos"
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == [
        "validation",
        "validation, aaf",
        "validation, fairface",
    ]
    few = "2 photos, which are too few for rates and intervals"
    assert lines[1] == f"validation, aaf: MAE 2.000 years, {few}"
    assert lines[2] == f"validation, fairface: distance to the range 2.500 years, {few}"
    assert lines[-1] == str(tmp_path / "best")


def test_a_single_dataset_has_one_line_for_each_split(
    halnet: Halnet, calls: list[dict[str, Any]], tmp_path: Path, capsys: Capture
) -> None:
    assert halnet("train", "--data", "aaf", "--out", tmp_path) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["validation", "test"]
    assert len(lines) == 3
    assert "loss 1.500, validation distance to the range 3.750 years, 20.0 photos" in err


def test_a_calibration_that_is_kept_is_stated(
    halnet: Halnet, calls: list[dict[str, Any]], tmp_path: Path, capsys: Capture, monkeypatch: Any
) -> None:
    train = trainer.train

    def keep(*args: Any, **options: Any) -> TrainResult:
        result = train(*args, **options)
        assert result is not None
        return replace(result, keeps_calibration=True)

    monkeypatch.setattr(trainer, "train", keep)
    assert halnet("train", "--data", "aaf", "--out", tmp_path) == 0
    assert "The intervals are those of the initial weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--share", "aaf"], "share: expected NAME=WEIGHT such as aaf=2, found 'aaf'"),
        (["--degradations", "fog"], "degradations: expected all or names among noise, grain"),
        (["--degrade", "2"], "degrade: expected a number from 0 to 1, found 2"),
    ],
)
def test_wrong_values_are_refused(
    arguments: list[str],
    message: str,
    halnet: Halnet,
    calls: list[dict[str, Any]],
    tmp_path: Path,
    capsys: Capture,
) -> None:
    assert halnet("train", "--data", "aaf", "--out", tmp_path, *arguments) != 0
    assert message in capsys.readouterr().err
    assert not calls
