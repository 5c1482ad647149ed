"""Heads: from logits to a distribution over years, and the loss against labels.

`distribution` is a softmax over the years; `ordinal` asks "older than k years?" for every k
[OR-CNN: Niu et al., CVPR 2016]. Both end in N x 101 probabilities, so that everything after the
head (age, interval, export, parity) is the same.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from halnet.ages import AGE_MAX, AGE_MIN, N_AGES
from halnet.training.config import TrainConfig
from halnet.training.losses import distribution_loss, label_distribution

SMALLEST = 1e-8  # probability: keeps logarithms finite


class Head(Protocol):
    """What the network and the training step need of a head."""

    outputs: int  # logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32, for N x K logits."""

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return their logarithms."""

    def target(self, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return what the loss compares with for N ages in years; MixUp may mix it."""

    def loss(self, logits: Tensor, target: Tensor, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N losses against N targets and N ages in years."""


class DistributionHead:
    """One logit a year, softmax [DLDL-v2: Gao et al., IJCAI 2018]."""

    outputs = N_AGES

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32."""
        return logits.float().softmax(dim=1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 log probabilities, float32."""
        return logits.float().log_softmax(dim=1)

    def target(self, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N x 101 label distributions."""
        return label_distribution(ages, config.sigma, config.sigma_max)

    def loss(self, logits: Tensor, target: Tensor, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N losses by the recipe's terms."""
        return distribution_loss(self.log_probabilities(logits), target, ages, config)


class OrdinalHead:
    """One logit a threshold: P(age > k) for k = 0..99.

    Independent answers need not fall with k. Sorted they do: the rearrangement, never farther from
    the true curve [Chernozhukov et al., Biometrika 2009], with the same mean age.
    """

    outputs = N_AGES - 1

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32, the differences of the sorted answers."""
        older = logits.float().sigmoid().sort(dim=1, descending=True).values
        ones, zeros = torch.ones_like(older[:, :1]), torch.zeros_like(older[:, :1])
        return torch.cat([ones, older], dim=1) - torch.cat([older, zeros], dim=1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 log probabilities, float32."""
        return self.probabilities(logits).clamp_min(SMALLEST).log()

    def target(self, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N x 100 answers, 1 where the age is above k."""
        thresholds = torch.arange(AGE_MIN, AGE_MAX, device=ages.device)
        return (ages[:, None] > thresholds).float()

    def loss(self, logits: Tensor, target: Tensor, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N binary cross-entropies, summed over the thresholds."""
        logits = logits.float()
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)


HEADS: dict[str, Head] = {"distribution": DistributionHead(), "ordinal": OrdinalHead()}
