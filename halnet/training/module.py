"""The training module of Lightning: the training step, the batches of an epoch, the optimiser."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from halnet.errors import ConfigError
from halnet.network.attention import CoordinateAttention
from halnet.network.model import AgeNet
from halnet.training.augmentation import PhotoChanges
from halnet.training.batch_augmentation import augment_batch
from halnet.training.config import TrainConfig
from halnet.training.data import Batch, evaluation_loader, to_tensors, training_loader
from halnet.training.distillation import Distiller
from halnet.training.label_losses import Labels, MixUp, distance_to_range, label_losses
from halnet.training.losses import count_ages, lds_weights, mean_over_years
from halnet.training.photos import BATCH_STREAM, SetPhotos, TrainingPhotos, label_ends
from halnet.training.quantization import int8_loss


class AgeModule(pl.LightningModule):
    """Trains a network by a recipe, with or without teachers."""

    label_weights: Tensor

    def __init__(
        self,
        config: TrainConfig,
        photos: TrainingPhotos,
        val_sets: Sequence[SetPhotos],
        model: AgeNet,
        teachers: Sequence[AgeNet] = (),
        workers: int = 0,
    ) -> None:
        """Prepare a training on `photos`, with the validation photos of each dataset."""
        super().__init__()
        self.config = config
        self.model = model.to(memory_format=torch.channels_last)
        self.distiller = Distiller(model, teachers, config) if teachers else None
        self._workers = workers
        self.photos = photos
        self.val_sets = val_sets
        # 101 x 101: the weight of a photo in the loss, by the lowest and the highest age of its
        # label.
        counts = count_ages(*label_ends(photos.records))
        weights = torch.from_numpy(mean_over_years(lds_weights(counts, config.lds)))
        self.register_buffer("label_weights", weights, persistent=False)
        self.val_outputs: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def size(self) -> int:
        """Width and height of crops in the current epoch, in pixels."""
        return self.config.size_at(self.current_epoch)

    @property
    def augments(self) -> bool:
        """Whether batches are augmented here, and not by what loads them."""
        return self.config.augment_on == "device"

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the current epoch for this process, at the right resolution."""
        seed = (self.config.seed, self.current_epoch)
        share = (self.trainer.global_rank, self.trainer.world_size) if self._trainer else (0, 1)
        changes = None if self.augments else PhotoChanges.of(self.config)
        return training_loader(
            self.photos, self.size, self.config.batch_size, seed, self._workers, share, changes
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation crops at the resolution of the current epoch."""
        return evaluation_loader(self.val_sets, self.size, self.config.batch_size)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Batch:
        """Return the tensors of a batch, before they are moved to the device."""
        return to_tensors(batch)

    def on_train_epoch_start(self) -> None:
        """Set train and eval modes and the dropout rate for the epoch."""
        self.model.train()
        quantizing = self.config.quantize != "none"
        random_parts = self._random_parts() if self.frozen else set()
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0 if quantizing else dropout_rate(self.current_epoch, self.config)
            elif isinstance(module, nn.BatchNorm2d) and (
                quantizing or (self.frozen and id(module) not in random_parts)
            ):
                module.eval()

    @property
    def frozen(self) -> bool:
        """Whether the pretrained layers keep their weights in the current epoch."""
        return self.current_epoch < self.config.freeze_epochs

    def _random_parts(self) -> set[int]:
        """Return the ids of modules that start with random weights, in attention and head."""
        network: Any = self.model.network
        head = network.classifier if hasattr(network, "classifier") else network.head
        attention = [m for m in self.model.modules() if isinstance(m, CoordinateAttention)]
        return {id(module) for part in (head, *attention) for module in part.modules()}

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch. Raises ConfigError if it is not finite.

        The seed of dropout and MixUp depends on the step only, so that a resumed run gives the same
        result as one without an interruption.
        """
        config = self.config
        rng = np.random.default_rng((config.seed, self.current_epoch, batch_index))
        torch.manual_seed(int(rng.integers(2**62)) + self.global_rank)
        images, low, high = batch[0].float(), batch[1], batch[2]
        if self.augments:
            stream = (config.seed, self.current_epoch, batch_index, self.global_rank, BATCH_STREAM)
            random = np.random.default_rng(stream)
            images = augment_batch(images, self.size, PhotoChanges.of(config), random)
        labels = Labels(low, high, self.label_weights[low, high])
        mixup = None
        if config.mixup_alpha > 0:
            share = float(rng.beta(config.mixup_alpha, config.mixup_alpha))
            mixup = MixUp(torch.randperm(len(images), device=images.device), share)
            images = mixup.mix(images)
        if self.distiller is None:
            logits = self.model.logits(images)
            losses = label_losses(logits, labels, config, mixup)
        else:
            logits, losses = self.distiller(self.model, images)
            on_labels = label_losses(logits, labels, config, mixup)
            losses = losses + config.label_weight * on_labels
        if config.quantize == "int8":
            losses = losses + config.quantize_weight * int8_loss(self.model, images, logits, config)
        loss = losses.mean()
        if not torch.isfinite(loss):
            raise ConfigError(
                f"the training diverged: the loss is {float(loss.detach())} in epoch "
                f"{self.current_epoch + 1}, batch {batch_index + 1}; train into a new folder with "
                "a lower --learning-rate"
            )
        with torch.no_grad():
            ends = [mixup.mix(end.float()) if mixup else end.float() for end in (low, high)]
            errors = distance_to_range(self.model.summarise(logits)[0], *ends)
            # `sync_dist` takes the mean over the processes, and not the part of the first one.
            self.log("train_mae", errors.mean(), on_step=False, on_epoch=True, sync_dist=True)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Remove the gradients of frozen weights, before gradients are clipped."""
        if self.frozen:
            random_parts = self._random_parts()
            for module in self.model.modules():
                if id(module) not in random_parts:
                    for parameter in module.parameters(recurse=False):
                        parameter.grad = None

    def on_validation_epoch_start(self) -> None:
        """Remove the outputs of the last validation."""
        self.val_outputs = []

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add the outputs of one batch, and log the loss on the labels."""
        images, low, high = batch[0].float(), batch[1], batch[2]
        with torch.autocast(self.device.type, enabled=False):  # float32, as in the exported model
            logits = self.model.logits(images)
        labels = Labels(low, high, torch.ones(len(images), device=images.device))
        loss = label_losses(logits, labels, self.config).mean()
        self.log("val_loss", loss, batch_size=len(images))
        age, stddev, probabilities = self.model.summarise(logits)
        self.val_outputs.append((age.cpu(), stddev.cpu(), probabilities.cpu()))

    def configure_optimizers(self) -> Any:
        """Return AdamW, with weight decay in convolutions and linear layers, and its schedule."""
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for module in self.modules():
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


def dropout_rate(epoch: int, config: TrainConfig) -> float:
    """Return the dropout rate of an epoch counted from 0.

    It is constant, or it rises linearly until the last epoch.
    """
    if config.dropout_start is None:
        return config.dropout
    done = epoch / max(1, config.epochs - 1)
    return config.dropout_start + (config.dropout - config.dropout_start) * done


def learning_rate_factor(epoch: float, config: TrainConfig) -> float:
    """Return the learning rate at an epoch, as a share of the largest one: warm-up, then cosine.

    `epoch` is counted from 0 and can be a fraction.
    """
    if epoch < config.warmup_epochs:
        return (epoch + 1e-3) / (config.warmup_epochs + 1e-3)
    rest = max(config.epochs - config.warmup_epochs, 1e-9)
    return float(0.5 * (1 + np.cos(np.pi * min(1.0, (epoch - config.warmup_epochs) / rest))))
