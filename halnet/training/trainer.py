"""The trainer: prepared dataset in, best checkpoint by validation MAE out.

A run folder holds `best_model.safetensors` (averaged weights), `training_log.csv` (a line an
epoch), `runs/` (TensorBoard), `last.ckpt` (to resume) and, at the end, `report.json`.
"""

import csv
import json
import logging
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from halnet.ages import fit_calibration
from halnet.artifact import Metadata
from halnet.datasets.prepared import PreparedDataset
from halnet.errors import ConfigError, DatasetError
from halnet.files import replacing, write_text
from halnet.metrics import Evaluation, evaluate
from halnet.results import Outputs
from halnet.training.checkpoint import load_checkpoint, load_config, save_checkpoint
from halnet.training.config import TrainConfig
from halnet.training.data import Batch, evaluation_loader, training_loader
from halnet.training.losses import dldl_v2, label_distribution, mix
from halnet.training.model import AgeNet

BEST_FILE = "best_model.safetensors"
LOG_FILE = "training_log.csv"
RESUME_FILE = "last.ckpt"
REPORT_FILE = "report.json"
CONFIG_FILE = "config.json"

MIN_VALIDATION = 9  # photos: with fewer, no conformal interval reaches 90 %

EpochReport = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class TrainResult:
    """What a finished run left."""

    checkpoint: Path
    val: Evaluation
    test: Evaluation
    log: tuple[dict[str, str], ...]  # lines of training_log.csv


class AgeModule(pl.LightningModule):
    """One training step of CA-MobileNetV3 by DLDL-v2 with MixUp."""

    def __init__(self, config: TrainConfig, data: PreparedDataset, workers: int) -> None:
        super().__init__()
        self.config = config
        self.model = AgeNet(config.dropout).to(memory_format=torch.channels_last)
        self._data = data
        self._workers = workers
        self.val_outputs: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def size(self) -> int:
        """Resolution of the current epoch, pixels a side."""
        return self.config.size_at(self.current_epoch)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the current epoch, at its resolution."""
        seed = (self.config.seed, self.current_epoch)
        return training_loader(self._data, self.size, self.config.batch_size, seed, self._workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation crops at the resolution of the current epoch."""
        records = self._data.select("val")
        return evaluation_loader(self._data, records, self.size, self.config.batch_size)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch.

        Dropout and MixUp are seeded by the step, so that a resumed run goes on as it would have.
        """
        rng = np.random.default_rng((self.config.seed, self.current_epoch, batch_index))
        torch.manual_seed(int(rng.integers(2**62)))
        images, ages = batch[0].float(), batch[1].float()
        target = label_distribution(ages, self.config.sigma)
        if self.config.mixup_alpha > 0:
            share = float(rng.beta(self.config.mixup_alpha, self.config.mixup_alpha))
            order = torch.randperm(len(images), device=images.device)
            images, target, ages = (mix(v, order, share) for v in (images, target, ages))
        loss = dldl_v2(self.model.logits(images), target, ages, self.config.mean_weight)
        if not torch.isfinite(loss):
            raise ConfigError(
                f"the loss became {float(loss.detach())} in epoch {self.current_epoch + 1}, batch "
                f"{batch_index + 1}; the last good state is kept: lower --learning-rate and resume "
                "in a new folder"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the outputs of the last validation."""
        self.val_outputs = []

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collect the outputs of one batch."""
        self.val_outputs.append(tuple(value.float().cpu() for value in self.model(batch[0])))

    def configure_optimizers(self) -> Any:
        """AdamW with decay on weights of convolutions and linear layers only; cosine schedule."""
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for module in self.model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                is_weight = isinstance(module, nn.Conv2d | nn.Linear) and name == "weight"
                (decayed if is_weight else plain).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": self.config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.config.learning_rate)
        steps = len(self.train_dataloader())
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step / steps, self.config)
        )
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def learning_rate_factor(epoch: float, config: TrainConfig) -> float:
    """Return the share of the peak learning rate at a (fractional) epoch: warm-up, then cosine."""
    if epoch < config.warmup_epochs:
        return (epoch + 1e-3) / (config.warmup_epochs + 1e-3)
    rest = max(config.epochs - config.warmup_epochs, 1e-9)
    return float(0.5 * (1 + np.cos(np.pi * min(1.0, (epoch - config.warmup_epochs) / rest))))


def ema_decay(updates: int, ceiling: float) -> float:
    """Return the decay of the weight average: short at first, when the weights move fast."""
    return min(ceiling, (1 + updates) / (10 + updates))


def ema_callback(ceiling: float) -> WeightAveraging:
    """Return the exponential moving average over weights and BN buffers."""

    def average(averages: Any, currents: Any, count: Any) -> None:
        decay = ema_decay(int(count), ceiling)
        for averaged, current in zip(averages, currents, strict=True):
            if averaged.is_floating_point():
                averaged.lerp_(current, 1 - decay)
            else:
                averaged.copy_(current)

    return WeightAveraging(use_buffers=True, multi_avg_fn=average)


class BestCheckpoint(Callback):
    """Keeps the averaged weights with the least validation MAE at the deployed resolution.

    Must come before the averaging callback, which takes the averaged weights away again.
    """

    def __init__(self, out: Path, data: PreparedDataset) -> None:
        self._out = out
        self._data = data
        self.best = float("inf")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the validation MAE; write the checkpoint if it is the best so far."""
        assert isinstance(pl_module, AgeModule)
        outputs = Outputs(
            *(np.concatenate(part) for part in zip(*pl_module.val_outputs, strict=True))
        )
        labels = [record.age for record in self._data.select("val")]
        mae = float(np.abs(outputs.age - labels).mean())
        pl_module.log("val_mae", mae)
        pl_module.log("val_bias", float((outputs.age - labels).mean()))
        at_deployed_size = pl_module.size == pl_module.config.stages[-1].size
        if trainer.sanity_checking or not at_deployed_size or mae >= self.best:
            return
        self.best = mae
        metadata = Metadata(
            calibration=fit_calibration(outputs.probabilities, labels),
            dataset=self._data.dataset,
            split_sha256=self._data.split_sha256,
            reference_mae={"val": round(mae, 4)},
        )
        save_checkpoint(self._out / BEST_FILE, pl_module.model, pl_module.config, metadata)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.best = state_dict["best"]


class EpochLog(Callback):
    """Appends a line an epoch to `training_log.csv`, with speed and the wait for data."""

    COLUMNS = (
        "epoch",
        "size",
        "learning_rate",
        "train_loss",
        "val_mae",
        "val_bias",
        "images_per_second",
        "data_wait_share",
        "seconds",
    )

    def __init__(self, path: Path, on_epoch: EpochReport) -> None:
        self._path = path
        self._on_epoch = on_epoch
        self._rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the log of the epochs that are done."""
        self._rows = read_log(self._path)[: trainer.current_epoch]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks."""
        self._start = self._waiting_since = time.perf_counter()
        self._waited = 0.0
        self._busy = 0.0
        self._images = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Add the time since the last batch was done: that was waiting for this one."""
        now = time.perf_counter()
        self._waited += now - self._waiting_since
        self._step_start = now

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Add the time of the step."""
        self._waiting_since = time.perf_counter()
        self._busy += self._waiting_since - self._step_start
        self._images += len(batch[1])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line."""
        assert isinstance(pl_module, AgeModule)
        total = self._waited + self._busy
        values = {
            "epoch": trainer.current_epoch + 1,
            "size": pl_module.size,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "images_per_second": self._images / total,
            "data_wait_share": self._waited / total,
            "seconds": time.perf_counter() - self._start,
            **{name: float(value) for name, value in trainer.callback_metrics.items()},
        }
        self._rows.append({name: f"{values[name]:.6g}" for name in self.COLUMNS})
        with replacing(self._path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self.COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)
        self._on_epoch(values)


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the lines of a `training_log.csv`, none if there is no such file."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def train(
    data_root: Path,
    out: Path,
    config: TrainConfig,
    *,
    device: str = "auto",
    workers: int = 0,
    threads: int | None = None,
    on_epoch: EpochReport = lambda values: None,
) -> TrainResult:
    """Train on a prepared dataset into the run folder `out`; resume if it holds a started run.

    `device` is auto, cpu or cuda; `workers` loads batches in that many processes, 0 in this one.
    `on_epoch` is called with the values of each line of the log.

    Raises ConfigError for a run folder of another recipe or dataset, or a loss that becomes NaN.
    """
    data = PreparedDataset(data_root)
    if len(data.select("val")) < MIN_VALIDATION:
        raise DatasetError(
            f"{data_root}: expected at least {MIN_VALIDATION} validation photos to calibrate the "
            f"90 % interval, found {len(data.select('val'))}; prepare a larger dataset"
        )
    _claim_folder(out, config, data)
    if threads:
        torch.set_num_threads(threads)
    _quieten()
    pl.seed_everything(config.seed, verbose=False)
    module = AgeModule(config, data, workers)
    best = BestCheckpoint(out, data)
    trainer = pl.Trainer(
        accelerator=device if device != "cuda" else "gpu",
        devices=1,
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
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, ckpt_path=last if last.exists() else None, weights_only=True)
    except SystemExit as stop:  # Lightning's answer to Ctrl-C, after which it ignores the signal
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from stop
    if not (out / BEST_FILE).exists():
        raise ConfigError(f"{out}: training ended before an epoch at the deployed size was done")
    return _report(out, data, trainer.strategy.root_device)


def _claim_folder(out: Path, config: TrainConfig, data: PreparedDataset) -> None:
    """Write down what the run folder belongs to, or check it if it is there."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / CONFIG_FILE
    claim = {"config": json.loads(config.to_json()), "split_sha256": data.split_sha256}
    if not path.exists():
        write_text(path, json.dumps(claim, indent=1) + "\n")
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["split_sha256"] != data.split_sha256:
        raise ConfigError(
            f"{out}: belongs to a run on the split {found['split_sha256'][:12]}..., found the "
            f"split {data.split_sha256[:12]}...; name a new folder with --out"
        )
    changed = [key for key, value in claim["config"].items() if found["config"].get(key) != value]
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
    return evaluate(Outputs.concatenate(parts), labels, sexes, metadata.calibration)
