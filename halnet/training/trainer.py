"""The trainer: prepared dataset in, best checkpoint by validation MAE out.

A run folder holds `best_model.safetensors` (averaged weights), `training_log.csv` (a line an
epoch), `runs/` (TensorBoard), `last.ckpt` (to resume) and, at the end, `report.json`.
"""

import json
import logging
import signal
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from halnet.artifact import Metadata
from halnet.datasets.prepared import PreparedDataset
from halnet.errors import ConfigError, DatasetError
from halnet.files import write_text
from halnet.metrics import Evaluation, evaluate
from halnet.results import Outputs, join_outputs
from halnet.training.callbacks import BestCheckpoint, EpochLog, EpochReport, ema_callback, read_log
from halnet.training.checkpoint import load_checkpoint, load_config, save_checkpoint
from halnet.training.config import TrainConfig
from halnet.training.device import resolve_device
from halnet.training.model import AgeNet
from halnet.training.module import AgeModule

BEST_FILE = "best_model.safetensors"
LOG_FILE = "training_log.csv"
RESUME_FILE = "last.ckpt"
REPORT_FILE = "report.json"
CONFIG_FILE = "config.json"

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
    weights: Path | None = None,
    device: str = "auto",
    workers: int = 0,
    threads: int | None = None,
    on_epoch: EpochReport = lambda values: None,
) -> TrainResult:
    """Train on a prepared dataset into the run folder `out`; resume if it holds a started run.

    `weights` is a checkpoint to start from, which the recipe then names by its SHA-256; `device` is
    auto, cpu or cuda; `workers` loads batches in that many processes, 0 in this one.
    `on_epoch` is called with the values of each line of the log.

    Raises ConfigError for a run folder of another recipe or dataset, or a loss that becomes NaN,
    RuntimeUnavailableError for a device that is not there.
    """
    data = PreparedDataset(data_root)
    if len(data.select("val")) < MIN_VALIDATION:
        raise DatasetError(
            f"{data_root}: expected at least {MIN_VALIDATION} validation photos to calibrate the "
            f"90 % interval, found {len(data.select('val'))}; prepare a larger dataset"
        )
    target = resolve_device(device)
    initial = None
    if weights is not None:
        initial, metadata = load_checkpoint(weights)
        if metadata.split_sha256 != data.split_sha256:
            raise ConfigError(
                f"{weights}: was trained on the split {metadata.split_sha256[:12]}..., found "
                f"{data.split_sha256[:12]}... in {data_root}: it may have seen its test photos"
            )
        config = replace(config, initial_sha256=metadata.checkpoint_sha256)
    _claim_folder(out, config, data)
    if threads:
        torch.set_num_threads(threads)
    _quieten()
    pl.seed_everything(config.seed, verbose=False)
    module = AgeModule(config, data, workers)
    if initial is not None:
        module.model.load_state_dict(initial.state_dict())
    best = BestCheckpoint(out / BEST_FILE, data)
    trainer = pl.Trainer(
        accelerator="cpu" if target.type == "cpu" else "gpu",
        devices=1 if target.type == "cpu" else [target.index],
        max_epochs=config.epochs,
        gradient_clip_val=config.clip_norm,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        callbacks=[
            best,
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
    last = out / RESUME_FILE
    if last.exists() and not zipfile.is_zipfile(last):
        raise ConfigError(f"{last}: damaged or cut off; delete it to start the run again")
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as stop:  # Lightning's answer to Ctrl-C, after which it ignores the signal
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop
    if not (out / BEST_FILE).exists():
        raise ConfigError(f"{out}: training ended before an epoch at the deployed size was done")
    return _report(out, data, target)


def _claim_folder(out: Path, config: TrainConfig, data: PreparedDataset) -> None:
    """Write down what the run folder belongs to, or check it if it is there."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIG_FILE
    claim = {"config": json.loads(config.to_json()), "split_sha256": data.split_sha256}
    if not path.exists():
        write_text(path, json.dumps(claim, indent=1) + "\n")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        found_split, found_config = found["split_sha256"], dict(found["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: damaged ({error!r}); name a new folder with --out") from error
    if found_split != data.split_sha256:
        raise ConfigError(
            f"{out}: belongs to a run on the split {found_split[:12]}..., found the "
            f"split {data.split_sha256[:12]}...; name a new folder with --out"
        )
    changed = [key for key, value in claim["config"].items() if found_config.get(key) != value]
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
    model, metadata = load_checkpoint(path)
    evaluations = {
        split: _evaluate(model.to(device), data, split, metadata) for split in ("val", "test")
    }
    mae = {split: round(result.overall.mae, 4) for split, result in evaluations.items()}
    save_checkpoint(path, model, load_config(path), replace(metadata, reference_mae=mae))
    report = {
        "dataset": data.dataset,
        "split_sha256": data.split_sha256,
        **{split: result.to_dict() for split, result in evaluations.items()},
    }
    write_text(out / REPORT_FILE, json.dumps(report, indent=1) + "\n")
    log = tuple(read_log(out / LOG_FILE))
    return TrainResult(path, evaluations["val"], evaluations["test"], log)


def _evaluate(model: AgeNet, data: PreparedDataset, split: str, metadata: Metadata) -> Evaluation:
    records = data.select(split)
    device = next(model.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(records), 64):
            crops = torch.from_numpy(data.inner_crops(records[start : start + 64]))
            parts.append(Outputs(*(value.cpu().numpy() for value in model(crops.to(device)))))
    labels = [record.age for record in records]
    sexes = [record.sex for record in records]
    return evaluate(join_outputs(parts), labels, sexes, metadata.calibration)
