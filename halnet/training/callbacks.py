"""What happens around the steps: the weight average, the best checkpoint, the log."""

import csv
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Callback, WeightAveraging

from halnet.ages import fit_calibration
from halnet.artifact import Metadata
from halnet.datasets.prepared import PreparedDataset
from halnet.errors import ConfigError
from halnet.files import replacing
from halnet.results import Outputs
from halnet.training.checkpoint import save_checkpoint
from halnet.training.data import Batch
from halnet.training.module import AgeModule

EpochReport = Callable[[Mapping[str, float]], None]


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

    def __init__(self, path: Path, data: PreparedDataset) -> None:
        self._path = path
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
        if not np.isfinite(mae):
            raise ConfigError(
                f"the validation MAE became {mae} in epoch {trainer.current_epoch + 1}; the best "
                "checkpoint so far is kept: train into a new folder with a lower --learning-rate"
            )
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
        save_checkpoint(self._path, pl_module.model, pl_module.config, metadata)

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
