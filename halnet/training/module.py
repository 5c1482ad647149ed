"""The training step, the batches of each epoch and the optimiser, as Lightning wants them."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from halnet.datasets.prepared import PreparedDataset
from halnet.errors import ConfigError
from halnet.training.config import TrainConfig
from halnet.training.data import Batch, evaluation_loader, training_loader
from halnet.training.losses import dldl_v2, label_distribution, mix
from halnet.training.model import AgeNet


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
                f"{batch_index + 1}; the last good state is kept: train into a new folder with a "
                "lower --learning-rate"
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
