"""The loss on the labels of a batch: exact ages and ranges of ages, with weights and MixUp.

The label of a photo is a range of years from `low` to `high`, both included. It is exact if both
are equal. An exact label has a target distribution, which MixUp can mix. A range has none, because
nothing is known about the ages inside it: its loss is the negative logarithm of the probability
that the network gives to the range (as for interval-censored data). MixUp mixes losses instead of
targets if one of the two photos has a range.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from halnet.network.heads import HEADS
from halnet.training.config import TrainConfig
from halnet.training.losses import HEAD_LOSSES, mix, support

RANGE_DISTANCE_WEIGHT = 0.1  # weight of the distance between the mean and the range, per year


@dataclass(frozen=True)
class Labels:
    """The labels of N photos, and how much each of them counts in the loss."""

    low: Tensor  # N, int64, years
    high: Tensor  # N, int64, years
    weights: Tensor  # N, float32

    @property
    def is_range(self) -> Tensor:
        """Whether the label is a range and not an exact age, N values."""
        return self.low != self.high

    def reorder(self, order: Tensor) -> "Labels":
        """Return the labels in another order."""
        return Labels(self.low[order], self.high[order], self.weights[order])


@dataclass(frozen=True)
class MixUp:
    """The mix of each photo with a partner [Zhang et al., ICLR 2018]."""

    order: Tensor  # N, int64: index of the partner of each photo
    share: float  # share of the photo itself, 0 to 1

    def mix(self, values: Tensor) -> Tensor:
        """Return share * values + (1 - share) * values of the partners."""
        return mix(values, self.order, self.share)


def label_losses(
    logits: Tensor, labels: Labels, config: TrainConfig, mixup: MixUp | None = None
) -> Tensor:
    """Return N weighted losses for N x K logits of photos or, with `mixup`, of mixed photos."""
    losses = _loss_of_mixed_targets(logits, labels, config, mixup)
    if not labels.is_range.any():
        return losses
    first = _loss_of_photos(logits, labels, config)
    if mixup is None:
        return first
    partners = labels.reorder(mixup.order)
    second = _loss_of_photos(logits, partners, config)
    mixed = mixup.share * first + (1 - mixup.share) * second
    return torch.where(labels.is_range | partners.is_range, mixed, losses)


def _loss_of_mixed_targets(
    logits: Tensor, labels: Labels, config: TrainConfig, mixup: MixUp | None
) -> Tensor:
    """Return N weighted losses that are right for photos with exact labels and partners."""
    head = HEAD_LOSSES[config.head]
    ages, weights = labels.low.float(), labels.weights
    target = head.target(ages, config)
    if mixup:
        target, ages, weights = mixup.mix(target), mixup.mix(ages), mixup.mix(weights)
    return weights * head.loss(logits, target, ages, config)


def _loss_of_photos(logits: Tensor, labels: Labels, config: TrainConfig) -> Tensor:
    """Return N weighted losses, each for the label of one photo, exact or a range."""
    exact = _loss_of_mixed_targets(logits, labels, config, None)
    inside = labels.weights * range_loss(logits, labels.low, labels.high, config)
    return torch.where(labels.is_range, inside, exact)


def range_loss(logits: Tensor, low: Tensor, high: Tensor, config: TrainConfig) -> Tensor:
    """Return N losses for N x K logits and N ranges in years.

    The loss is -log(probability of the range) + 0.1 * (distance between the mean and the range).
    """
    probabilities = HEADS[config.head].probabilities(logits)
    mean = (probabilities * support(probabilities)).sum(dim=1)
    distance = distance_to_range(mean, low.float(), high.float())
    log_inside = HEAD_LOSSES[config.head].log_range(logits, low, high)
    return RANGE_DISTANCE_WEIGHT * distance - log_inside


def distance_to_range(ages: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return how far N ages are from N ranges, in years: 0 inside, and the error for low = high."""
    return (low - ages).clamp_min(0) + (ages - high).clamp_min(0)
