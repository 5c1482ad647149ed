"""Losses on distributions over years: DLDL-v2 [Gao et al., IJCAI 2018] and optional terms."""

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from halnet.ages import AGE_MAX, AGE_MIN, N_AGES
from halnet.network.heads import HEADS
from halnet.training.config import TrainConfig

LDS_SIZE, LDS_SIGMA = 5, 2.0  # years: width and sigma of the kernel in the paper on LDS


def support(like: Tensor) -> Tensor:
    """Return the ages from 0 to 100 as float32, on the device of `like`."""
    return torch.arange(AGE_MIN, AGE_MAX + 1, dtype=torch.float32, device=like.device)


def label_distribution(ages: Tensor, sigma: float, sigma_max: float | None = None) -> Tensor:
    """Return N x 101 label distributions for N ages in years.

    The probability of the age k is proportional to exp(-(k - age)^2 / (2 sigma^2)). With
    `sigma_max`, sigma grows linearly with the age: it is `sigma` at 0 years and `sigma_max` at 100.
    """
    years = ages.float()[:, None]
    width = sigma if sigma_max is None else sigma + (sigma_max - sigma) * years / AGE_MAX
    return (-((support(ages) - years) ** 2) / (2 * width**2)).softmax(dim=1)


def soft_loss(log_probabilities: Tensor, target: Tensor, config: TrainConfig) -> Tensor:
    """Return the N losses of `distribution_loss`, with the distributions of a network as labels.

    Both `log_probabilities` and `target` are N x 101.
    """
    ages = (target * support(target)).sum(dim=1)
    return distribution_loss(log_probabilities, target, ages, config)


def distribution_loss(
    log_probabilities: Tensor, target: Tensor, ages: Tensor, config: TrainConfig
) -> Tensor:
    """Return N losses for N x 101 log probabilities, N x 101 targets and N ages in years.

    The loss of DLDL-v2 is KL(target || p) + mean_weight * abs(E[age] - age). If their weights are
    above 0, three terms are added: the squared distance between the cumulative distributions, and
    (E[age] - age)^2 / 2 and the variance of the mean-variance loss [Pan et al., CVPR 2018].
    """
    p = log_probabilities.exp()
    entropy = torch.special.entr(target).sum(dim=1)
    loss: Tensor = -(target * log_probabilities).sum(dim=1) - entropy
    years = support(p)
    mean = (p * years).sum(dim=1)
    if config.mean_weight:
        loss = loss + config.mean_weight * (mean - ages.float()).abs()
    if config.cdf_weight:
        distance = (p - target).cumsum(dim=1).square().sum(dim=1)
        loss = loss + config.cdf_weight * distance
    if config.squared_weight:
        loss = loss + config.squared_weight * (mean - ages.float()).square() / 2
    if config.variance_weight:
        variance = (p * (years - mean[:, None]).square()).sum(dim=1)
        loss = loss + config.variance_weight * variance
    return loss


def lds_weights(ages: NDArray[np.int64], kind: str) -> NDArray[np.float32]:
    """Return a weight for each age from 0 to 100, computed from the ages of the training photos.

    Label distribution smoothing [Yang et al., ICML 2021] convolves the histogram of the ages with a
    Gaussian, which gives a density. The weight is 1 / density for the kind "inverse", the square
    root of that for "sqrt", and 1 for "none". The mean weight of the photos is 1, so that the loss
    keeps its scale.
    """
    counts = np.bincount(ages - AGE_MIN, minlength=N_AGES).astype(np.float64)
    reach = np.arange(LDS_SIZE) - LDS_SIZE // 2
    kernel = np.exp(-(reach**2) / (2 * LDS_SIGMA**2))
    density = np.convolve(counts, kernel / kernel.sum(), mode="same")
    power = {"none": 0.0, "inverse": -1.0, "sqrt": -0.5}[kind]
    weights = np.maximum(density, 1e-9) ** power
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), np.float32)


def mix(values: Tensor, order: Tensor, share: float) -> Tensor:
    """Return share * values + (1 - share) * values[order], MixUp [Zhang et al., ICLR 2018]."""
    return torch.lerp(values[order], values, share)


class HeadLoss(Protocol):
    """The protocol for the loss of a head: it makes targets from ages, and losses from both."""

    def target(self, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N targets for N ages in years. MixUp can mix them."""

    def loss(self, logits: Tensor, target: Tensor, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N losses for N x K logits, N targets and N ages in years."""


class DistributionLoss:
    """The loss of label distributions, with the terms of the recipe."""

    def target(self, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N x 101 label distributions for N ages in years."""
        return label_distribution(ages, config.sigma, config.sigma_max)

    def loss(self, logits: Tensor, target: Tensor, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return the N losses of `distribution_loss` for N x 101 logits and targets."""
        log_probabilities = HEADS["distribution"].log_probabilities(logits)
        return distribution_loss(log_probabilities, target, ages, config)


class OrdinalLoss:
    """The binary cross-entropy of answers to "older than k years?" [Niu et al., CVPR 2016]."""

    def target(self, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N x 100 answers for N ages in years: 1 if the age is above k, else 0."""
        thresholds = torch.arange(AGE_MIN, AGE_MAX, device=ages.device)
        return (ages[:, None] > thresholds).float()

    def loss(self, logits: Tensor, target: Tensor, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N sums of binary cross-entropies for N x 100 logits and targets."""
        losses = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
        return losses.sum(dim=1)


HEAD_LOSSES: dict[str, HeadLoss] = {"distribution": DistributionLoss(), "ordinal": OrdinalLoss()}
