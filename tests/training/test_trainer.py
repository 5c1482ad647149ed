"""Whole runs: finished, interrupted, killed, refused, and with all kinds of initial weights."""

import csv
import json
import logging
import os
import random
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from halnet.artifact import sha256_file
from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.indexing import write_index
from halnet.datasets.origin import Origin
from halnet.errors import ArtifactError, ConfigError, DatasetError, RuntimeUnavailableError
from halnet.evaluation.accuracy import EvaluateConfig, evaluate_model
from halnet.evaluation.predictions import read_predictions
from halnet.network.attention import CoordinateAttention
from halnet.network.checkpoint import load_checkpoint, save_checkpoint
from halnet.network.model import AgeNet
from halnet.runtimes.base import RuntimeOptions
from halnet.training import trainer
from halnet.training.callbacks import BestCheckpoint
from halnet.training.config import Stage, TrainConfig
from halnet.training.module import AgeModule
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
    train([prepared], out, CONFIG, device="cpu", threads=1)
    return out


def test_the_files_of_a_run(finished: Path) -> None:
    best = load_checkpoint(finished / "best_model.safetensors")
    assert sum(isinstance(m, CoordinateAttention) for m in best.model.modules()) == 5
    assert TrainConfig.from_json(best.recipe) == CONFIG
    assert best.metadata.dataset == "synthetic"
    report = json.loads((finished / "report.json").read_text())
    names = ["dataset", "split_sha256", "photos", "copies_left_out", "val", "test"]
    assert list(report) == names
    assert report["photos"] == {"train": 36, "val": 12, "test": 12}
    assert best.metadata.reference_mae == {
        "val": round(report["val"]["overall"]["mae"], 4),
        "test": round(report["test"]["overall"]["mae"], 4),
    }
    assert best.metadata.split_sha256 == report["split_sha256"]
    assert list((finished / "runs").glob("events.out.tfevents*"))
    with open(finished / "training_log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["size"]) for row in rows] == [("1", "32"), ("2", "32"), ("3", "224")]
    assert float(rows[2]["train_loss"]) < float(rows[0]["train_loss"])
    for row in rows:
        assert 0 < float(row["data_wait_share"]) < 1
        assert float(row["images_per_second"]) > 0


def test_a_finished_run_does_not_change(finished: Path, prepared: Path) -> None:
    """Artifacts state the hash of the checkpoint, so a repeated command must not change it."""
    before = (finished / "best_model.safetensors").read_bytes()
    log = (finished / "training_log.csv").read_bytes()
    result = train([prepared], finished, CONFIG, device="cpu")
    assert (finished / "best_model.safetensors").read_bytes() == before
    assert (finished / "training_log.csv").read_bytes() == log
    assert result is not None
    assert len(result.log) == 3


@pytest.mark.parametrize("device", ["banana", "cuda:99"])
def test_a_wrong_device_writes_nothing(device: str, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=f"PyTorch: expected .*{device}"):
        train([prepared], tmp_path / "run", CONFIG, device=device)
    assert not (tmp_path / "run").exists()


def test_a_file_in_place_of_the_run_folder_is_refused(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        message = "expected a folder, found that .*file is a file; name another folder"
        with pytest.raises(ConfigError, match=message):
            train([prepared], out, CONFIG, device="cpu")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("weights", ["imagnet", "select:no.safetensors", "faceres:no.json"])
def test_weights_that_do_not_exist_are_refused(
    weights: str, prepared: Path, tmp_path: Path
) -> None:
    message = f"weights: expected none, imagenet, .*found {weights}; correct --weights"
    with pytest.raises(ConfigError, match=message):
        train([prepared], tmp_path / "run", CONFIG, weights=weights, device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_report_agrees_with_an_evaluation(finished: Path, prepared: Path) -> None:
    best = finished / "best_model.safetensors"
    options = RuntimeOptions(device="cpu")
    result = evaluate_model(EvaluateConfig((prepared,), best, options=options))
    report = json.loads((finished / "report.json").read_text())["test"]
    assert result.evaluation.overall.mae == pytest.approx(report["overall"]["mae"], abs=1e-3)
    assert report["overall"]["coverage"] is None, "12 photos are too few"
    kept = read_predictions(finished / "predictions.csv")
    assert list(kept) == ["val", "test"]
    assert kept["test"].source == result.predictions.source
    np.testing.assert_allclose(kept["test"].age, result.predictions.age, atol=1e-3)


def test_an_interrupted_run_gives_the_same_weights(
    finished: Path, prepared: Path, tmp_path: Path
) -> None:
    def interrupt(values: object) -> None:
        if values["epoch"] == 2:  # type: ignore[index]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train([prepared], tmp_path, CONFIG, device="cpu", threads=1, on_epoch=interrupt)
    assert not (tmp_path / "best_model.safetensors").exists()
    epochs: list[float] = []
    options = {"device": "cpu", "threads": 1}
    train([prepared], tmp_path, CONFIG, **options, on_epoch=lambda v: epochs.append(v["epoch"]))
    assert epochs == [2, 3], "the first epoch is not repeated"
    expected = load_file(finished / "best_model.safetensors")
    found = load_file(tmp_path / "best_model.safetensors")
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def test_batches_that_are_augmented_on_the_device_are_the_same_after_an_interruption(
    prepared: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, augment_on="device", degrade=0.5, jitter=2.0, photos=24)

    def interrupt(values: object) -> None:
        if values["epoch"] == 2:  # type: ignore[index]
            raise KeyboardInterrupt

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train([prepared], whole, config, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train([prepared], parts, config, device="cpu", on_epoch=interrupt)
    train([prepared], parts, config, device="cpu", workers=1)
    expected, found = (load_file(run / "best_model.safetensors") for run in (whole, parts))
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    with pytest.raises(ConfigError, match="augment_on"):
        train([prepared], parts, replace(config, augment_on="cpu"), device="cpu")


def test_a_loss_that_becomes_nan_stops_the_run(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AgeNet.logits
    calls = []

    def broken(self: AgeNet, images: torch.Tensor) -> torch.Tensor:
        calls.append(self.training)
        return real(self, images) * (float("nan") if sum(calls) == 6 else 1)

    monkeypatch.setattr(AgeNet, "logits", broken)
    with pytest.raises(ConfigError, match="the loss is nan in epoch 2, batch 3"):
        train([prepared], tmp_path, CONFIG, device="cpu")
    assert (tmp_path / "last.ckpt").exists()


def test_weights_start_from_a_checkpoint(
    finished: Path, prepared: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """With a tiny learning rate, the weights stay near those of the checkpoint."""
    start = finished / "best_model.safetensors"
    config = TrainConfig(stages=(Stage(224, 1),), photos=24, batch_size=12, learning_rate=1e-7)
    out = tmp_path / "run"
    train([prepared], out, config, weights=str(start), device="cpu")
    recipe = TrainConfig.from_json(load_checkpoint(out / "best_model.safetensors").recipe)
    assert recipe.initial_sha256 == sha256_file(start)
    before, after = load_file(start), load_file(out / "best_model.safetensors")
    for name, value in before.items():
        if name.endswith(("weight", "bias")):
            torch.testing.assert_close(after[name], value, atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="it may have been trained on test photos"):
        train([prepared], tmp_path / "other", config, weights=str(checkpoint), device="cpu")
    with pytest.raises(ConfigError, match="found other values of weights, initial_sha256"):
        train([prepared], out, config, device="cpu")


def test_too_few_validation_photos_are_refused(tmp_path: Path) -> None:
    hashes = np.random.default_rng(0).integers(2**64, size=40, dtype=np.uint64)
    results = [PreparedPhoto(f"{i}.jpg", 30, 30, hash=f"{h:016x}") for i, h in enumerate(hashes)]
    write_index(tmp_path, Origin("x", seed=0, listing_sha256="0"), results)
    with pytest.raises(DatasetError, match="at least 9 validation photos .* found 2"):
        train([tmp_path], tmp_path / "run", CONFIG, device="cpu")


@pytest.mark.parametrize(
    ("change", "devices", "message"),
    [
        ({"freeze_epochs": 1}, 1, "freeze_epochs: expected pretrained weights, found none"),
        ({"hint_weight": 1.0}, 1, "hint_weight: expected a teacher .* found none"),
        ({"precision": "fp16"}, 1, "expected a CUDA device, found the CPU"),
        ({}, 5, "a multiple of the 5 processes, found 12"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    change: dict[str, Any], devices: int, message: str, prepared: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, **change)
    with pytest.raises(ConfigError, match=message):
        train([prepared], tmp_path / "run", config, device="cpu", devices=devices)
    assert not (tmp_path / "run").exists()


def test_a_single_process_needs_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are those of a shell that Slurm opened for four tasks."""
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "job")
    cpu = torch.device("cpu")
    assert trainer._build_trainer(tmp_path, CONFIG, cpu, 1, 1, []).world_size == 1
    with pytest.raises(ConfigError, match="cannot start 2 processes: .*SLURM_NTASKS") as error:
        trainer._build_trainer(tmp_path, CONFIG, cpu, 2, 1, [])
    assert "\n" not in str(error.value)


def test_a_training_leaves_its_process_as_it_was(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that fails does so too."""

    def state() -> list[Any]:
        return [
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_rng_state().tolist(),
            dict(os.environ),
            list(warnings.filters),
            cv2.getNumThreads(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            logging.getLogger("lightning.pytorch").level,
        ]

    def fit(trainer: object, module: AgeModule, **options: object) -> None:
        seen.extend(state())
        dtypes.update(parameter.dtype for parameter in module.parameters())
        raise KeyboardInterrupt

    seen: list[Any] = []
    dtypes: set[torch.dtype] = set()
    monkeypatch.setattr(pl.Trainer, "fit", fit)
    monkeypatch.setenv("PL_GLOBAL_SEED", "77")
    cv2.setNumThreads(2)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    before = state()
    try:
        with pytest.raises(KeyboardInterrupt):
            train([prepared], tmp_path, CONFIG, device="cpu", workers=1, threads=1)
        assert state() == before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    assert all(a != b for a, b in zip(seen[:-1], before, strict=False)), "the training changes it"
    assert dtypes == {torch.float32}


def test_the_random_numbers_of_a_recipe_stay_the_same(
    finished: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hints get the numbers after those of the network to train and of the initial weights."""
    modules: list[AgeModule] = []

    def keep(trainer: object, module: AgeModule, **options: object) -> None:
        modules.append(module)
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.Trainer, "fit", keep)
    start = finished / "best_model.safetensors"
    config = replace(CONFIG, hint_weight=1.0, seed=5)
    with pytest.raises(KeyboardInterrupt):
        train([prepared], tmp_path, config, weights=str(start), teachers=[start], device="cpu")
    torch.manual_seed(5)
    networks = [AgeNet(), AgeNet()]
    expected = torch.nn.Conv2d(40, 40, 1).weight
    assert modules[0].distiller is not None
    assert torch.equal(modules[0].distiller.maps["stride8"].weight, expected)
    assert not torch.equal(*(network.network.classifier[0].weight for network in networks))


def test_frozen_weights_and_statistics_stay(finished: Path, prepared: Path, tmp_path: Path) -> None:
    """In a frozen epoch, only the head and Coordinate Attention change."""
    start = finished / "best_model.safetensors"
    config = replace(
        CONFIG, stages=(Stage(224, 1),), photos=24, freeze_epochs=1, weight_decay=0.1, ema_decay=0.5
    )
    train([prepared], tmp_path, config, weights=str(start), device="cpu")
    before, after = load_file(start), load_file(tmp_path / "best_model.safetensors")
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    gates = {n for n in before if any(part in n for part in ("squeeze", "gate_", ".norm."))}
    head = {n for n in before if "classifier" in n}
    assert moved == gates | head


def test_training_for_int8_keeps_the_statistics(
    finished: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "EQUALIZING_CROPS", 24)
    start = finished / "best_model.safetensors"
    config = replace(
        CONFIG, stages=(Stage(32, 1), Stage(224, 1)), photos=24, quantize="int8", ema_decay=0.5
    )
    train([prepared], tmp_path, config, weights=str(start), device="cpu")
    before, after = load_file(start), load_file(tmp_path / "best_model.safetensors")
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    statistics = {n for n in before if "running_" in n or "num_batches" in n}
    assert moved == set(before) - statistics


def test_early_stopping(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predicted ages get worse in each epoch, so the second epoch of the last stage is the last."""
    validate = BestCheckpoint.on_validation_epoch_end

    def drifting(self: BestCheckpoint, trainer: Any, module: AgeModule) -> None:
        drift = 30 * trainer.current_epoch
        module.val_outputs = [(age + drift, *rest) for age, *rest in module.val_outputs]
        validate(self, trainer, module)

    monkeypatch.setattr(BestCheckpoint, "on_validation_epoch_end", drifting)
    stages = (Stage(32, 2), Stage(224, 3))
    result = train([prepared], tmp_path, replace(CONFIG, stages=stages, patience=1), device="cpu")
    assert result is not None
    assert [row["size"] for row in result.log] == ["32", "32", "224", "224"]


def test_a_student_learns_from_a_teacher(finished: Path, prepared: Path, tmp_path: Path) -> None:
    teacher = finished / "best_model.safetensors"
    config = replace(CONFIG, stages=(Stage(224, 1),), photos=24, hint_weight=0.5, precision="bf16")
    result = train([prepared], tmp_path / "run", config, teachers=[teacher], device="cpu")
    assert result is not None
    # In each precision of the training, the validation computes in float32.
    assert float(result.log[-1]["val_mae"]) == pytest.approx(result.val.overall.mae, abs=1e-3)
    recipe = TrainConfig.from_json(load_checkpoint(result.checkpoint).recipe)
    assert recipe.teacher_sha256 == sha256_file(teacher)
    assert load_file(result.checkpoint).keys() == load_file(teacher).keys()
    with pytest.raises(ConfigError, match="found other values of teacher_sha256"):
        train([prepared], tmp_path / "run", replace(config, hint_weight=0.0), device="cpu")


def test_the_order_of_teachers_belongs_to_the_recipe(
    finished: Path, prepared: Path, tmp_path: Path
) -> None:
    first = finished / "best_model.safetensors"
    best = load_checkpoint(first)
    second = tmp_path / "second.safetensors"
    text = replace(CONFIG, seed=9).to_json()
    save_checkpoint(second, best.model, text, best.metadata, best.trained_on)
    config = replace(CONFIG, stages=(Stage(224, 1),), photos=24)
    out = tmp_path / "run"
    result = train([prepared], out, config, teachers=[first, second], device="cpu")
    assert result is not None
    recipe = TrainConfig.from_json(load_checkpoint(result.checkpoint).recipe)
    assert recipe.teacher_sha256 == f"{sha256_file(first)},{sha256_file(second)}"
    with pytest.raises(ConfigError, match="found other values of teacher_sha256"):
        train([prepared], out, config, teachers=[second, first], device="cpu")


def test_a_teacher_of_another_split_is_refused(
    prepared: Path, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="it may have been trained on test photos"):
        train([prepared], tmp_path / "run", CONFIG, teachers=[checkpoint], device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_another_age_range_is_refused(
    prepared: Path, tmp_path: Path, finished: Path
) -> None:
    other = tmp_path / "teacher.safetensors"
    data = (finished / "best_model.safetensors").read_bytes()
    assert data.count(b"[0, 100]") == 1
    other.write_bytes(data.replace(b"[0, 100]", b"[0, 116]"))
    with pytest.raises(ArtifactError, match=r"expected ages 0 to 100, found \[0, 116\]"):
        train([prepared], tmp_path / "run", CONFIG, teachers=[other], device="cpu")
    assert not (tmp_path / "run").exists()


DRIVER = """
import os, signal, sys
from pathlib import Path
from halnet.training.config import TrainConfig
from halnet.training.module import AgeModule
from halnet.training.trainer import train

data, out, devices, die = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
step = AgeModule.training_step

def deadly(self, batch, index):
    if die == "die" and (self.current_epoch, index) == (1, 2):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)

AgeModule.training_step = deadly
train([data], out, TrainConfig.from_json(sys.argv[5]), device="cpu", devices=devices, threads=1)
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_gives_the_same_weights(
    processes: int, finished: Path, prepared: Path, tmp_path: Path
) -> None:
    """The processes get a real SIGKILL in the middle of an epoch. Two of them use gloo.

    A single process is compared with the run of this process, which also continues its run.
    """
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)

    def run(out: str, die: str) -> int:
        words = (prepared, tmp_path / out, str(processes), die, CONFIG.to_json())
        done = subprocess.run(
            [sys.executable, driver, *words],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert die == "die" or done.returncode == 0, done.stderr
        return done.returncode

    assert run("killed", "die") == -signal.SIGKILL
    assert len(read_log(tmp_path / "killed" / "training_log.csv").rows) == 1
    assert not (tmp_path / "killed" / "best_model.safetensors").exists()
    if processes == 1:
        whole = finished
        train([prepared], tmp_path / "killed", CONFIG, device="cpu", threads=1)
    else:
        whole = tmp_path / "whole"
        assert run("whole", "live") == 0
        assert run("killed", "live") == 0
    expected, found = (run / "best_model.safetensors" for run in (whole, tmp_path / "killed"))
    assert found.read_bytes() == expected.read_bytes()
