import csv
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from halnet.artifact import sha256_file
from halnet.errors import ArtifactError, ConfigError, DatasetError, RuntimeUnavailableError
from halnet.network.attention import CoordinateAttention
from halnet.network.checkpoint import load_checkpoint, load_config
from halnet.network.model import AgeNet
from halnet.training.callbacks import BestCheckpoint, ema_callback, ema_decay
from halnet.training.config import Stage, TrainConfig
from halnet.training.module import AgeModule, dropout_rate, learning_rate_factor
from halnet.training.trainer import train
from halnet.training.training_log import read_log

CONFIG = TrainConfig(
    stages=(Stage(32, 2), Stage(224, 1)),
    photos=36,
    batch_size=12,
    warmup_epochs=0.5,
    mixup_alpha=0.2,
)


@pytest.fixture(scope="module")
def finished(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    train(prepared, out, CONFIG, device="cpu")
    return out


def test_a_run_leaves_what_it_promises(finished: Path, prepared: Path) -> None:
    model, metadata = load_checkpoint(finished / "best_model.safetensors")
    assert sum(isinstance(m, CoordinateAttention) for m in model.modules()) == 5
    assert load_config(finished / "best_model.safetensors") == CONFIG
    assert metadata.dataset == "synthetic"
    report = json.loads((finished / "report.json").read_text())
    assert metadata.reference_mae == {
        "val": round(report["val"]["overall"]["mae"], 4),
        "test": round(report["test"]["overall"]["mae"], 4),
    }
    assert metadata.split_sha256 == report["split_sha256"]
    assert list((finished / "runs").glob("events.out.tfevents*"))
    with open(finished / "training_log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["size"]) for row in rows] == [("1", "32"), ("2", "32"), ("3", "224")]
    assert float(rows[2]["train_loss"]) < float(rows[0]["train_loss"])
    for row in rows:
        assert 0 < float(row["data_wait_share"]) < 1
        assert float(row["images_per_second"]) > 0


def test_a_finished_run_is_left_as_it_is(finished: Path, prepared: Path) -> None:
    """Artifacts name the checkpoint by its hash: running the command again must not change it."""
    before = (finished / "best_model.safetensors").read_bytes()
    log = (finished / "training_log.csv").read_bytes()
    result = train(prepared, finished, CONFIG, device="cpu")
    assert (finished / "best_model.safetensors").read_bytes() == before
    assert (finished / "training_log.csv").read_bytes() == log
    assert len(result.log) == 3


def test_wrong_devices_claim_nothing(prepared: Path, tmp_path: Path) -> None:
    for device, message in (("banana", "found banana"), ("cuda:99", "cuda:99 was asked for")):
        with pytest.raises(RuntimeUnavailableError, match=message):
            train(prepared, tmp_path / "run", CONFIG, device=device)
    assert not (tmp_path / "run").exists()


def test_the_report_is_what_the_runtime_measures(finished: Path, prepared: Path) -> None:
    from halnet.evaluation.accuracy import EvaluateConfig, evaluate_model
    from halnet.evaluation.predictions import read_predictions

    best = finished / "best_model.safetensors"
    result = evaluate_model(EvaluateConfig(prepared, best, device="cpu"))
    report = json.loads((finished / "report.json").read_text())["test"]
    assert result.evaluation.overall.mae == pytest.approx(report["overall"]["mae"], abs=1e-3)
    assert result.evaluation.overall.coverage == report["overall"]["coverage"]
    kept = read_predictions(finished / "predictions.csv")
    assert list(kept) == ["val", "test"]
    assert kept["test"].source == result.predictions.source
    np.testing.assert_allclose(kept["test"].age, result.predictions.age, atol=1e-3)


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    finished: Path, prepared: Path, tmp_path: Path
) -> None:
    def interrupt(values: object) -> None:
        if values["epoch"] == 2:  # type: ignore[index]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(prepared, tmp_path, CONFIG, device="cpu", on_epoch=interrupt)
    assert not (tmp_path / "best_model.safetensors").exists()
    epochs: list[float] = []
    train(prepared, tmp_path, CONFIG, device="cpu", on_epoch=lambda v: epochs.append(v["epoch"]))
    assert epochs == [2, 3], "the first epoch was not done again"
    expected = load_file(finished / "best_model.safetensors")
    found = load_file(tmp_path / "best_model.safetensors")
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def test_a_run_folder_belongs_to_its_recipe_and_data(
    finished: Path, prepared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    with pytest.raises(ConfigError, match="belongs to a run with other dropout, sigma"):
        train(prepared, out, replace(CONFIG, dropout=0.5, sigma=3.0), device="cpu")
    (out / "last.ckpt").write_bytes((out / "last.ckpt").read_bytes()[:-100])
    with pytest.raises(ConfigError, match="damaged or cut off; delete it"):
        train(prepared, out, CONFIG, device="cpu")
    claim = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**claim, "split_sha256": "00" * 32}))
    with pytest.raises(ConfigError, match="belongs to a run on the split 000000000000"):
        train(prepared, out, CONFIG, device="cpu")
    index = {**claim, "index_sha256": "11" * 32}
    (out / "config.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match="belongs to a run on the photos 111111111111"):
        train(prepared, out, CONFIG, device="cpu")
    (out / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="config.json: damaged"):
        train(prepared, out, CONFIG, device="cpu")


def test_a_loss_that_becomes_nan_stops_the_run(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AgeNet.logits
    calls = []

    def broken(self: AgeNet, images: torch.Tensor) -> torch.Tensor:
        calls.append(self.training)
        return real(self, images) * (float("nan") if sum(calls) == 6 else 1)

    monkeypatch.setattr(AgeNet, "logits", broken)
    with pytest.raises(ConfigError, match="became nan in epoch 2, batch 3"):
        train(prepared, tmp_path, CONFIG, device="cpu")
    assert (tmp_path / "last.ckpt").exists()


def test_weights_start_from_a_checkpoint(
    finished: Path, prepared: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """A last stage that hardly moves them leaves the weights near those of the checkpoint."""
    start = finished / "best_model.safetensors"
    config = TrainConfig(stages=(Stage(224, 1),), batch_size=24, learning_rate=1e-7)
    out = tmp_path / "run"
    train(prepared, out, config, weights=str(start), device="cpu")
    assert load_config(out / "best_model.safetensors").initial_sha256 == sha256_file(start)
    before, after = load_file(start), load_file(out / "best_model.safetensors")
    for name, value in before.items():
        if name.endswith(("weight", "bias")):
            torch.testing.assert_close(after[name], value, atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="it may have seen its test photos"):
        train(prepared, tmp_path / "other", config, weights=str(checkpoint), device="cpu")
    with pytest.raises(ConfigError, match="with other weights, initial_sha256"):
        train(prepared, out, config, device="cpu")


def test_too_few_validation_photos(prepared: Path, tmp_path: Path) -> None:
    from halnet.artifact import INPUT
    from halnet.datasets.preparing import Prepared, write_index

    identity = {"dataset": "x", "seed": 0, "listing_sha256": "0"}
    results = [Prepared(f"{i}.jpg", 30, "") for i in range(40)]
    write_index(tmp_path, {**identity, "input_fingerprint": INPUT.fingerprint()}, results)
    with pytest.raises(DatasetError, match="at least 9 validation photos .* found 2"):
        train(tmp_path, tmp_path / "run", CONFIG, device="cpu")


def test_weight_decay_spares_norms_and_biases(prepared: Path) -> None:
    from halnet.datasets.prepared_dataset import PreparedDataset

    module = AgeModule(CONFIG, PreparedDataset(prepared), AgeNet())
    (optimizer,), _ = module.configure_optimizers()
    decayed, plain = optimizer.param_groups
    assert decayed["weight_decay"] == CONFIG.weight_decay
    assert plain["weight_decay"] == 0
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim == 1 for p in plain["params"])
    counted = len(decayed["params"]) + len(plain["params"])
    assert counted == len(list(module.model.parameters()))


def test_learning_rate() -> None:
    config = TrainConfig(stages=(Stage(128, 8), Stage(224, 2)), warmup_epochs=2)
    factors = [learning_rate_factor(e, config) for e in (0, 1, 2, 6, 10)]
    np.testing.assert_allclose(factors, [0, 0.5, 1, 0.5, 0], atol=1e-3)


def test_the_average_covers_weights_and_buffers() -> None:
    assert ema_decay(0, 0.998) == pytest.approx(0.1)
    assert ema_decay(90, 0.998) == pytest.approx(0.91)
    assert ema_decay(100_000, 0.998) == 0.998
    network = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    torch.nn.init.constant_(network[0].weight, 1.0)
    callback = ema_callback(0.998)
    average = torch.optim.swa_utils.AveragedModel(network, **callback._kwargs, use_buffers=True)
    average.update_parameters(network)  # the first takes the values as they are
    torch.nn.init.constant_(network[0].weight, 2.0)
    network[1].running_mean.fill_(4.0)
    network[1].num_batches_tracked.fill_(7)
    average.update_parameters(network)
    decay = 2 / 11
    assert average.module[0].weight.item() == pytest.approx(decay * 1 + (1 - decay) * 2)
    assert average.module[1].running_mean.item() == pytest.approx((1 - decay) * 4)
    assert average.module[1].num_batches_tracked.item() == 7


def test_dynamic_dropout_rises() -> None:
    config = TrainConfig(stages=(Stage(128, 4), Stage(224, 1)), dropout=0.4, dropout_start=0.0)
    rates = [dropout_rate(epoch, config) for epoch in range(5)]
    np.testing.assert_allclose(rates, [0, 0.1, 0.2, 0.3, 0.4])
    assert dropout_rate(3, replace(config, dropout_start=None)) == 0.4


def test_options_that_contradict_each_other(prepared: Path, tmp_path: Path) -> None:
    for change, message in (
        ({"freeze_epochs": 1}, "expected pretrained weights to freeze, found none"),
        ({"hint_weight": 1.0}, "expected a teacher to take hints from"),
        ({"precision": "fp16"}, "expected a CUDA device, found the CPU"),
    ):
        with pytest.raises(ConfigError, match=message):
            train(prepared, tmp_path / "run", replace(CONFIG, **change), device="cpu")
    with pytest.raises(ConfigError, match="a multiple of the 5 processes, found 12"):
        train(prepared, tmp_path / "run", CONFIG, device="cpu", devices=5)
    assert not (tmp_path / "run").exists()


def test_frozen_weights_and_statistics_stay(finished: Path, prepared: Path, tmp_path: Path) -> None:
    """One frozen epoch: the head and Coordinate Attention move, nothing else does."""
    start = finished / "best_model.safetensors"
    config = TrainConfig(
        stages=(Stage(224, 1),), batch_size=24, freeze_epochs=1, weight_decay=0.1, ema_decay=0.5
    )
    train(prepared, tmp_path, config, weights=str(start), device="cpu")
    before, after = load_file(start), load_file(tmp_path / "best_model.safetensors")
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    gates = {n for n in before if any(part in n for part in ("squeeze", "gate_", ".norm."))}
    head = {n for n in before if "classifier" in n}
    assert moved == gates | head


def test_training_for_integers_leaves_the_statistics(
    finished: Path, prepared: Path, tmp_path: Path
) -> None:
    start = finished / "best_model.safetensors"
    config = replace(
        CONFIG, stages=(Stage(32, 1), Stage(224, 1)), photos=48, quantize="int8", ema_decay=0.5
    )
    train(prepared, tmp_path, config, weights=str(start), device="cpu")
    before, after = load_file(start), load_file(tmp_path / "best_model.safetensors")
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    statistics = {n for n in before if "running_" in n or "num_batches" in n}
    assert moved == set(before) - statistics


def test_early_stop(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages that drift away from epoch to epoch: the second of the last stage is one too many."""
    judge = BestCheckpoint.on_validation_epoch_end

    def drifting(self: BestCheckpoint, trainer: Any, module: AgeModule) -> None:
        drift = 30 * trainer.current_epoch
        module.val_outputs = [(age + drift, *rest) for age, *rest in module.val_outputs]
        judge(self, trainer, module)

    monkeypatch.setattr(BestCheckpoint, "on_validation_epoch_end", drifting)
    stages = (Stage(32, 2), Stage(224, 3))
    result = train(prepared, tmp_path, replace(CONFIG, stages=stages, patience=1), device="cpu")
    assert result is not None
    assert [row["size"] for row in result.log] == ["32", "32", "224", "224"]


def test_a_student_learns_from_a_teacher(finished: Path, prepared: Path, tmp_path: Path) -> None:
    teacher = finished / "best_model.safetensors"
    config = replace(CONFIG, stages=(Stage(224, 1),), photos=24, hint_weight=0.5, precision="bf16")
    result = train(prepared, tmp_path / "run", config, teacher=teacher, device="cpu")
    assert result is not None
    # Validation computes in float32, as what is exported will, whatever the training does.
    assert float(result.log[-1]["val_mae"]) == pytest.approx(result.val.overall.mae, abs=1e-3)
    recipe = load_config(result.checkpoint)
    assert recipe.teacher_sha256 == sha256_file(teacher)
    assert load_file(result.checkpoint).keys() == load_file(teacher).keys()
    with pytest.raises(ConfigError, match="belongs to a run with other teacher_sha256"):
        train(prepared, tmp_path / "run", replace(config, hint_weight=0.0), device="cpu")


def test_teachers_that_cannot_teach(
    prepared: Path, checkpoint: Path, tmp_path: Path, finished: Path
) -> None:
    with pytest.raises(ConfigError, match="it may have seen its test photos"):
        train(prepared, tmp_path / "run", CONFIG, teacher=checkpoint, device="cpu")
    other = tmp_path / "teacher.safetensors"
    data = (finished / "best_model.safetensors").read_bytes()
    assert data.count(b"[0, 100]") == 1
    other.write_bytes(data.replace(b"[0, 100]", b"[0, 116]"))
    with pytest.raises(ArtifactError, match=r"expected ages 0 to 100, found \[0, 116\]"):
        train(prepared, tmp_path / "run", CONFIG, teacher=other, device="cpu")
    assert not (tmp_path / "run").exists()


DRIVER = """
import os, signal, sys
from pathlib import Path
from halnet.training.config import Stage, TrainConfig
from halnet.training.module import AgeModule
from halnet.training.trainer import train
from halnet.training.training_log import read_log

data, out, devices, die = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
step = AgeModule.training_step

def deadly(self, batch, index):
    if die == "die" and (self.current_epoch, index) == (1, 2):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)

AgeModule.training_step = deadly
stages = (Stage(32, 2), Stage(224, 1))
config = TrainConfig(stages=stages, photos=36, batch_size=12, mixup_alpha=0.2)
train(data, out, config, device="cpu", devices=devices, threads=1)
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_kill_9_in_the_middle_of_an_epoch(processes: int, prepared: Path, tmp_path: Path) -> None:
    """The real signal to the real processes, over gloo where there are two."""
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)

    def run(out: str, die: str) -> int:
        command = [sys.executable, driver, prepared, tmp_path / out, str(processes), die]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert die == "die" or done.returncode == 0, done.stderr
        return done.returncode

    assert run("whole", "live") == 0
    assert run("killed", "die") == -signal.SIGKILL
    assert len(read_log(tmp_path / "killed" / "training_log.csv").rows) == 1
    assert not (tmp_path / "killed" / "best_model.safetensors").exists()
    assert run("killed", "live") == 0
    whole = (tmp_path / "whole" / "best_model.safetensors").read_bytes()
    assert (tmp_path / "killed" / "best_model.safetensors").read_bytes() == whole
