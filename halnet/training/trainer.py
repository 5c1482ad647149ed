"""The trainer: prepared dataset in, best checkpoint by validation MAE out.

A run folder holds `best_model.safetensors` (averaged weights), `training_log.csv` (a line an
epoch), `runs/` (TensorBoard), `last.ckpt` (to resume) and, at the end, `report.json` and
`predictions.csv` (a line a photo of validation and test).
"""

import json
import logging
import signal
import warnings
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray

from halnet.ages import AgeCalibration
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ConfigError, DatasetError
from halnet.evaluation.metrics import Evaluation, evaluate
from halnet.evaluation.predictions import (
    PREDICTIONS_FILE,
    Predictions,
    to_predictions,
    write_predictions,
)
from halnet.files import write_text
from halnet.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from halnet.network.device import resolve_device
from halnet.network.model import AgeNet
from halnet.results import Outputs
from halnet.training.callbacks import BestCheckpoint, EpochLog, EpochReport, ema_callback
from halnet.training.config import TrainConfig
from halnet.training.initial_weights import check_split, parse_weights
from halnet.training.memory import keep_freed_memory
from halnet.training.module import AgeModule
from halnet.training.precision import keep_float32
from halnet.training.training_log import LOG_FILE, read_log

BEST_FILE = "best_model.safetensors"
RESUME_FILE = "last.ckpt"
REPORT_FILE = "report.json"
CONFIG_FILE = "config.json"

PRECISIONS: dict[str, Any] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}  # Lightning's names
MIN_VALIDATION = 9  # photos: with fewer, no conformal interval reaches 90 %


@dataclass(frozen=True)
class TrainResult:
    """What a finished run left."""

    checkpoint: Path
    val: Evaluation
    test: Evaluation
    log: tuple[dict[str, str], ...]  # lines of training_log.csv


def train(
    data_root: Path,
    out: Path,
    config: TrainConfig,
    *,
    weights: str = "none",
    teacher: Path | None = None,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    workers: int = 0,
    threads: int | None = None,
    on_epoch: EpochReport = lambda values: None,
) -> TrainResult | None:
    """Train on a prepared dataset into the run folder `out`; resume if it holds a started run.

    `weights` is what the network starts from, as `parse_weights` reads it; `teacher` is a
    checkpoint to learn from. The recipe then names both by their SHA-256. `device` is auto, cpu or
    cuda; `devices` and `nodes` train in so many processes (on the CPU over gloo), of which all but
    the first return None; `workers` loads batches in that many processes each, 0 in the training
    ones. `on_epoch` is called with the values of each line of the log.

    Raises ConfigError for a run folder of another recipe or dataset, or a loss that becomes NaN,
    ArtifactError for a teacher or start that is no checkpoint of this age range,
    RuntimeUnavailableError for a device that is not there.
    """
    data = PreparedDataset(data_root)
    if len(data.select("val")) < MIN_VALIDATION:
        raise DatasetError(
            f"{data_root}: expected at least {MIN_VALIDATION} validation photos to calibrate the "
            f"90 % interval, found {len(data.select('val'))}; prepare a larger dataset"
        )
    target = resolve_device(device)
    initial = parse_weights(weights)
    initial.check(data)
    config = replace(config, weights=initial.kind, initial_sha256=initial.sha256)
    taught_by: Checkpoint | None = None
    if teacher is not None:
        taught_by = load_checkpoint(teacher)
        check_split(taught_by, data)
        config = replace(config, teacher_sha256=taught_by.sha256)
    _check_recipe(config, devices * nodes, target)
    if threads:
        torch.set_num_threads(threads)
    if target.type == "cpu":
        keep_freed_memory()
    _quieten()
    pl.seed_everything(config.seed, verbose=False)
    model = AgeNet(config.network)
    last = out / RESUME_FILE
    if not last.exists():
        initial.load(model, config.backbone, data)
    if config.precision == "bf16" and target.type == "cpu":
        keep_float32(model)
    _claim_folder(out, config, data)
    if last.exists() and not zipfile.is_zipfile(last):
        raise ConfigError(f"{last}: damaged or cut off; delete it to start the run again")
    module = AgeModule(config, data, model, taught_by.model if taught_by else None, workers)
    trainer = pl.Trainer(
        accelerator="cpu" if target.type == "cpu" else "gpu",
        devices=[target.index] if target.type == "cuda" and devices == 1 else devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        use_distributed_sampler=False,
        sync_batchnorm=target.type == "cuda" and devices * nodes > 1,
        precision=PRECISIONS[config.precision],
        max_epochs=config.epochs,
        gradient_clip_val=config.clip_norm,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        callbacks=[
            BestCheckpoint(out / BEST_FILE, data),
            ema_callback(config.ema_decay),
            EpochLog(out / LOG_FILE, on_epoch),
            ModelCheckpoint(
                out, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
            ),
        ],
        logger=TensorBoardLogger(out, name="runs", version=""),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=50,
    )
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as stop:  # Lightning's answer to Ctrl-C, after which it ignores the signal
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop
    if not trainer.is_global_zero:
        return None
    if not (out / BEST_FILE).exists():
        raise ConfigError(f"{out}: training ended before an epoch at the deployed size was done")
    return _report(out, data, target)


def _check_recipe(config: TrainConfig, processes: int, device: torch.device) -> None:
    """Raise ConfigError for options that contradict each other."""
    if config.freeze_epochs and config.weights == "none":
        raise ConfigError(
            "freeze_epochs: expected pretrained weights to freeze, found none; use warmup_epochs "
            "to start gently from fresh ones"
        )
    if config.quantize != "none" and config.weights == "none":
        raise ConfigError(
            "quantize: expected weights of a trained checkpoint, found none; name it with --weights"
        )
    if config.hint_weight and not config.teacher_sha256:
        raise ConfigError("hint_weight: expected a teacher to take hints from, found none")
    if config.precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16: expected a CUDA device, found the CPU; use bf16 or fp32")
    if config.batch_size % processes:
        raise ConfigError(
            f"batch_size: expected a multiple of the {processes} processes, found "
            f"{config.batch_size}"
        )


def _claim_folder(out: Path, config: TrainConfig, data: PreparedDataset) -> None:
    """Write down what the run folder belongs to, or check it if it is there."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIG_FILE
    origin = {"split_sha256": data.split_sha256, "index_sha256": data.index_sha256}
    if not path.exists():
        claim = {"config": json.loads(config.to_json()), **origin}
        write_text(path, json.dumps(claim, indent=1) + "\n")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found_config = asdict(TrainConfig.from_json(json.dumps(found["config"])))
        found_origin = {key: str(found[key]) for key in origin}
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise ConfigError(f"{path}: damaged ({error!r}); name a new folder with --out") from error
    for key, what in (("split_sha256", "split"), ("index_sha256", "photos")):
        if found_origin[key] != origin[key]:
            raise ConfigError(
                f"{out}: belongs to a run on the {what} {found_origin[key][:12]}..., found the "
                f"{what} {origin[key][:12]}... in {data.root}; name a new folder with --out"
            )
    changed = [key for key, value in asdict(config).items() if found_config[key] != value]
    if changed:
        raise ConfigError(
            f"{out}: belongs to a run with other {', '.join(changed)}; "
            "repeat its options to resume it, or name a new folder with --out"
        )


def _quieten() -> None:
    """Keep Lightning's advice on loaders and its banners out of the output."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")


def _report(out: Path, data: PreparedDataset, device: torch.device) -> TrainResult:
    """Evaluate the best checkpoint on validation and test; state both in file and report."""
    path = out / BEST_FILE
    best = load_checkpoint(path)
    model = best.model.to(device)
    predictions = {s: _predict(model, data, s, best.metadata.calibration) for s in ("val", "test")}
    evaluations = {split: evaluate(part) for split, part in predictions.items()}
    mae = {split: round(result.overall.mae, 4) for split, result in evaluations.items()}
    save_checkpoint(path, model, best.recipe, replace(best.metadata, reference_mae=mae))
    write_predictions(out / PREDICTIONS_FILE, predictions)
    report = {
        "dataset": data.dataset,
        "split_sha256": data.split_sha256,
        **{split: result.to_dict() for split, result in evaluations.items()},
    }
    write_text(out / REPORT_FILE, json.dumps(report, indent=1) + "\n")
    return TrainResult(path, evaluations["val"], evaluations["test"], read_log(out / LOG_FILE).rows)


def _predict(
    model: AgeNet, data: PreparedDataset, split: str, calibration: AgeCalibration
) -> Predictions:
    device = next(model.parameters()).device

    def run(crops: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            values = model(torch.from_numpy(crops).to(device))
        return Outputs(*(value.cpu().numpy() for value in values))

    records = data.select(split)
    return to_predictions(data.outputs(run, records), records, calibration)
