"""Runs on several datasets, one of which has ranges of ages as labels."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError
from halnet.evaluation.scores import RangeScore
from halnet.network.checkpoint import load_checkpoint
from halnet.training import trainer
from halnet.training.config import Share, Stage, TrainConfig
from halnet.training.run_report import TrainResult
from halnet.training.trainer import train
from halnet.training.training_log import read_log, set_errors
from tests.conftest import make_prepared

CONFIG = TrainConfig(
    stages=(Stage(32, 2), Stage(224, 1)),
    photos=24,
    batch_size=12,
    mixup_alpha=0.2,
    lds="sqrt",
    shares=(Share("ranges", 2),),
    balance=0.3,
    degrade=0.5,
    jitter=2,
)


@pytest.fixture(scope="module")
def run(
    prepared: Path, ranges: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainResult]:
    out = tmp_path_factory.mktemp("run")
    result = train([prepared, ranges], out, CONFIG, device="cpu")
    assert result is not None
    return out, result


def test_the_best_weights_have_the_lowest_mean_over_datasets(run: tuple[Path, TrainResult]) -> None:
    out, result = run
    assert list(result.val_sets) == ["synthetic", "ranges"]
    exact, other = (part.main_score.error for part in result.val_sets.values())
    last = read_log(out / "training_log.csv").rows[-1]
    assert float(last["val_mae_synthetic"]) == pytest.approx(exact, abs=1e-3)
    assert float(last["val_distance_ranges"]) == pytest.approx(other, abs=1e-3)
    assert float(last["val_mae"]) == pytest.approx((exact + other) / 2, abs=1e-3)
    assert abs(exact - other) > 0.01
    metadata = load_checkpoint(result.checkpoint).metadata
    assert metadata.reference_mae == {
        "val": pytest.approx(exact, abs=1e-3),
        "test": pytest.approx(result.test_sets["synthetic"].overall.mae, abs=1e-3),
    }, "distances to ranges are not in it"


def test_the_report_has_each_dataset(
    run: tuple[Path, TrainResult], prepared: Path, ranges: Path
) -> None:
    out, result = run
    report = json.loads((out / "report.json").read_text())
    data = DataCollection([PreparedDataset(prepared), PreparedDataset(ranges)])
    assert list(report["sets"]) == list(data.sets)
    for name, part in data.sets.items():
        own = report["sets"][name]
        assert own["split_sha256"] == part.split_sha256
        for split in ("val", "test"):
            expected = getattr(result, f"{split}_sets")[name].to_dict()
            assert own[split] == json.loads(json.dumps(expected))
    assert report["sets"]["ranges"]["test"]["ranges"]["overall"]["count"] == sum(
        record.dataset == "ranges" for record in data.select("test")
    )
    errors = [part.main_score.error for part in result.test_sets.values()]
    assert report["mean_error"]["test"] == pytest.approx(np.mean(errors), abs=1e-3)
    assert report["sets"]["ranges"]["photos"] == {"train": 24, "val": 6, "test": 6}
    assert report["sets"]["ranges"]["copies_left_out"] == {"train": 0, "val": 0}


def test_a_checkpoint_states_its_datasets_and_the_hashes_of_its_photos(
    run: tuple[Path, TrainResult], prepared: Path, ranges: Path
) -> None:
    best = load_checkpoint(run[1].checkpoint)
    data = DataCollection([PreparedDataset(prepared), PreparedDataset(ranges)])
    stated = [(part.name, part.split_sha256, part.photos) for part in best.metadata.datasets]
    assert stated == [(n, part.split_sha256, 24) for n, part in data.sets.items()]
    hashes = {record.hash for record in data.select("train", 24)}
    assert best.trained_on is not None
    assert set(best.trained_on.tolist()) == hashes
    assert len(best.metadata.minor_errors) == 18
    minors = sum(record.age_high < 18 for record in data.select("val") if record.is_exact)
    assert sum(map(len, best.metadata.minor_errors)) == minors > 0


def test_an_interrupted_run_gives_the_same_weights(
    run: tuple[Path, TrainResult], prepared: Path, ranges: Path, tmp_path: Path
) -> None:
    def interrupt(values: object) -> None:
        if values["epoch"] == 2:  # type: ignore[index]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([prepared, ranges], tmp_path, CONFIG, device="cpu", on_epoch=interrupt)
    train([prepared, ranges], tmp_path, CONFIG, device="cpu")
    expected, found = (load_file(p / "best_model.safetensors") for p in (run[0], tmp_path))
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    logs = [read_log(p / "training_log.csv").rows for p in (run[0], tmp_path)]
    for first, second in zip(*logs, strict=True):
        assert first["train_loss"] == second["train_loss"]
        assert first["val_distance_ranges"] == second["val_distance_ranges"]


@pytest.mark.parametrize("change", [{"head": "ordinal"}, {"quantize": "int8"}])
def test_ranges_are_learned_in_other_ways_too(
    change: dict[str, str],
    run: tuple[Path, TrainResult],
    prepared: Path,
    ranges: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "EQUALIZING_CROPS", 24)
    config = replace(CONFIG, stages=(Stage(224, 1),), **change)
    weights = str(run[1].checkpoint) if "quantize" in change else "none"
    result = train([prepared, ranges], tmp_path, config, weights=weights, device="cpu")
    assert result is not None
    assert np.isfinite(float(result.log[0]["train_loss"]))


def test_a_dataset_of_ranges_alone_can_be_learned(tmp_path: Path) -> None:
    """The intervals are calibrated on the ranges, and the test states distances."""
    config = replace(CONFIG, stages=(Stage(224, 1),), shares=())
    larger = make_prepared(tmp_path / "larger", 200, "larger", first=3000, years=10)
    epochs: list[Mapping[str, float]] = []
    result = train([larger], tmp_path / "run", config, device="cpu", on_epoch=epochs.append)
    assert result is not None
    assert isinstance(result.test.main_score, RangeScore)
    assert list(set_errors(epochs[0])) == ["val_distance_larger"], "what val_mae is"
    assert set_errors(result.log[0]) == {}, "the log of one dataset has the columns that it had"
    assert load_checkpoint(result.checkpoint).metadata.reference_mae == {}
    assert float(result.log[0]["val_mae"]) == pytest.approx(result.val.main_score.error, abs=1e-3)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    names = ["dataset", "split_sha256", "photos", "copies_left_out", "val", "test"]
    assert list(report) == names
    assert report["test"]["ranges"]["overall"]["distance"] == result.test.main_score.distance


def test_a_dataset_without_validation_photos_and_copies_are_stated_at_the_start(
    prepared: Path, tmp_path: Path
) -> None:
    """The second dataset has 60 photos of the first one, all of them for training."""
    second = make_prepared(tmp_path / "second", 80, "second", first=180, shares="100/0/0")
    config = TrainConfig(stages=(Stage(224, 1),), photos=12, batch_size=12)
    notes: list[str] = []
    data, out = [prepared, second], tmp_path / "run"
    train(data, out, config, device="cpu", on_note=notes.append)
    collection = DataCollection([PreparedDataset(path) for path in data])
    copies = collection.twins_removed["second"]["train"]
    assert copies > 0
    assert [note.split(":")[0] for note in notes] == ["synthetic", *["second"] * 3]
    assert notes[1].endswith(f"left out as copies of photos in another split: {copies} of training")
    assert "no validation photos" in notes[2]
    assert "no test photos" in notes[3]
    own = json.loads((out / "report.json").read_text())["sets"]["second"]
    assert own["photos"] == {"train": 12, "val": 0, "test": 0}
    assert own["copies_left_out"] == {"train": copies, "val": 0}


def test_a_few_photos_keep_the_calibration_of_the_initial_weights(
    run: tuple[Path, TrainResult], tmp_path: Path
) -> None:
    """The new dataset has two validation photos, too few for intervals of its own."""
    few = make_prepared(tmp_path / "few", 40, "few", first=2000)
    config = TrainConfig(stages=(Stage(224, 1),), batch_size=12)
    start = run[1].checkpoint
    result = train([few], tmp_path / "run", config, weights=str(start), device="cpu")
    assert result is not None
    assert result.keeps_calibration
    base, tuned = load_checkpoint(start), load_checkpoint(result.checkpoint)
    assert tuned.metadata.calibration == base.metadata.calibration
    assert tuned.metadata.minor_errors == base.metadata.minor_errors
    assert [part.name for part in tuned.metadata.datasets] == ["few"]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["calibration"] == "kept from the initial weights"
    # The photos of the initial weights count as seen, too.
    own = {r.hash for r in PreparedDataset(few).select("train")}
    assert base.trained_on is not None
    assert tuned.trained_on is not None
    assert set(tuned.trained_on.tolist()) == own | set(base.trained_on.tolist())


def test_weights_that_saw_test_photos_are_refused(
    run: tuple[Path, TrainResult], tmp_path: Path
) -> None:
    """Another dataset with the same photos has another split, and the same hashes."""
    other = make_prepared(tmp_path / "other", 250, "other")
    config = TrainConfig(stages=(Stage(224, 1),), batch_size=12)
    message = "expected a checkpoint that was not trained on validation or test photos of other"
    with pytest.raises(ConfigError, match=message):
        train([other], tmp_path / "run", config, weights=str(run[1].checkpoint), device="cpu")
    with pytest.raises(ConfigError, match=message):
        train([other], tmp_path / "run", config, teachers=[run[1].checkpoint], device="cpu")
    assert not (tmp_path / "run").exists()
