"""Callbacks of a training: the average of the weights, the best checkpoint and the log."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.callbacks import Callback, WeightAveraging

from halnet.errors import ConfigError
from halnet.network.checkpoint import save_checkpoint
from halnet.results import Outputs
from halnet.training.data import Batch
from halnet.training.module import AgeModule
from halnet.training.origin import RunOrigin
from halnet.training.training_log import COLUMNS, read_log, set_errors, write_log
from halnet.training.validation import mean_bias, mean_error, score_sets

# Takes the values of a line of the log, and the error of each dataset by its column.
OnEpoch = Callable[[Mapping[str, float]], None]


def ema_decay(updates: int, ceiling: float) -> float:
    """Return the decay of the weight average, which is smaller for the first updates.

    The weights change fast at the start, and a small decay follows them. `ceiling` is the largest
    decay.
    """
    return min(ceiling, (1 + updates) / (10 + updates))


def average_weights(averages: Any, currents: Any, count: Any, ceiling: float) -> None:
    """Update averaged tensors in place, after `count` updates. Integers are copied."""
    decay = ema_decay(int(count), ceiling)
    for averaged, current in zip(averages, currents, strict=True):
        if averaged.is_floating_point():
            averaged.lerp_(current, 1 - decay)
        else:
            averaged.copy_(current)


def ema_callback(ceiling: float) -> WeightAveraging:
    """Return a callback that averages weights and statistics of batch norms exponentially.

    `ceiling` is the largest decay.
    """
    return WeightAveraging(use_buffers=True, multi_avg_fn=partial(average_weights, ceiling=ceiling))


class BestCheckpoint(Callback):
    """Writes the averaged weights with the lowest validation error at the deployed resolution.

    The error is the mean over datasets of their MAE; a dataset of ranges has its mean distance to
    the range instead. The callback must come before the averaging callback, which replaces the
    averaged weights after the validation.
    """

    def __init__(self, path: Path, origin: RunOrigin) -> None:
        self._path = path
        self._origin = origin
        self.best = float("inf")
        self.waited = 0  # number of epochs at the deployed resolution since the best one

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the validation errors, and write the checkpoint if it is the best one so far."""
        assert isinstance(pl_module, AgeModule)
        outputs = Outputs(
            *(np.concatenate(part) for part in zip(*pl_module.val_outputs, strict=True))
        )
        scores = score_sets(pl_module.val_sets, outputs.age)
        error = mean_error(scores)
        if not np.isfinite(error):
            raise ConfigError(
                f"the training diverged: the validation error is {error} in epoch "
                f"{trainer.current_epoch + 1}; train into a new folder with a lower --learning-rate"
            )
        pl_module.log("val_mae", error)
        pl_module.log("val_bias", mean_bias(scores))
        # The error of a single dataset is val_mae. Its column states only what kind of error it is.
        pl_module.log_dict({score.column: score.error for score in scores}, logger=len(scores) > 1)
        at_deployed_size = pl_module.size == pl_module.config.stages[-1].size
        self.waited += at_deployed_size
        if not at_deployed_size or error >= self.best:
            return
        self.waited = 0
        self.best = error
        if not trainer.is_global_zero:
            return
        metadata = self._origin.metadata(pl_module.val_sets, outputs)
        recipe = pl_module.config.to_json()
        save_checkpoint(self._path, pl_module.model, recipe, metadata, self._origin.trained_on)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.best, self.waited = state_dict["best"], state_dict["waited"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the training early if the recipe has a patience and it is over."""
        assert isinstance(pl_module, AgeModule)
        patience = pl_module.config.patience
        if patience:  # all processes must decide the same
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(
                self.waited >= patience, all=False
            )


class EpochLog(Callback):
    """Adds a line for each epoch to `training_log.csv`, with the speed and the wait for data."""

    def __init__(self, path: Path, on_epoch: OnEpoch) -> None:
        self._path = path
        self._on_epoch = on_epoch
        self._rows: list[dict[str, str]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the lines of the epochs that are finished."""
        self._rows = list(read_log(self._path).rows[: trainer.current_epoch])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start measuring the time."""
        self._start = self._waiting_since = time.perf_counter()
        self._waited = 0.0
        self._busy = 0.0
        self._images = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Add the time since the end of the last step, which was spent waiting for this batch."""
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
        self._images += len(batch[1]) * trainer.world_size

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line of the epoch."""
        assert isinstance(pl_module, AgeModule)
        if not trainer.is_global_zero:
            return
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
        errors = set_errors(values)
        names = [*COLUMNS, *(errors if len(errors) > 1 else ())]
        self._rows.append({name: f"{values[name]:.6g}" for name in names})
        write_log(self._path, self._rows)
        self._on_epoch(values)
