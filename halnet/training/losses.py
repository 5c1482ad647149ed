"""Losses on distributions over years: DLDL-v2 [Gao et al., IJCAI 2018] and optional terms."""

from collections import Counter
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from halnet.ages import AGE_MAX, AGE_MIN, N_AGES
from halnet.network.heads import HEADS
from halnet.training.config import TrainConfig

LDS_SIZE, LDS_SIGMA = 5, 2.0  # years: width and sigma of the kernel in the paper on LDS
CERTAIN = 1e4  # logit of what is certain: that an age is 0 or more, and not above 100
SMALLEST_DIFFERENCE = 1e-6  # of two logits: it keeps the logarithm of a probability finite
SMALLEST_DENSITY = 1e-9  # number of photos: it keeps weights of ages without photos finite

Years = NDArray[np.int64]
Real = TypeVar("Real", np.float32, np.float64)


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


def count_ages(low: Years, high: Years) -> NDArray[np.float64]:
    """Return the number of photos of each age from 0 to 100.

    `low` and `high` are the ends of the label of each photo, in years. A photo whose label is a
    range counts evenly for all its years, and as one photo in sum.
    """
    counts = np.zeros(N_AGES)
    for (first, last), photos in Counter(zip(low.tolist(), high.tolist(), strict=True)).items():
        counts[first - AGE_MIN : last - AGE_MIN + 1] += photos / (last - first + 1)
    return counts


def smooth_density(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return counts of 101 ages, convolved with the Gaussian of label distribution smoothing."""
    reach = np.arange(LDS_SIZE) - LDS_SIZE // 2
    kernel = np.exp(-(reach**2) / (2 * LDS_SIGMA**2))
    density = np.convolve(counts, kernel / kernel.sum(), mode="same")
    return np.maximum(density, SMALLEST_DENSITY)


def lds_weights(counts: NDArray[np.float64], kind: str) -> NDArray[np.float32]:
    """Return a weight for each age from 0 to 100, computed from the counts of training photos.

    Label distribution smoothing [Yang et al., ICML 2021] convolves the histogram of the ages with a
    Gaussian, which gives a density. The weight is 1 / density for the kind "inverse", the square
    root of that for "sqrt", and 1 for "none". The mean weight of the photos is 1, so that the loss
    keeps its scale.
    """
    power = {"none": 0.0, "inverse": -1.0, "sqrt": -0.5}[kind]
    weights = smooth_density(counts) ** power
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), np.float32)


def mean_over_years(values: NDArray[Real]) -> NDArray[Real]:
    """Return a table of the means of 101 values over ranges of years, 101 x 101.

    Row `low` and column `high` contain the mean from `low` to `high`, both included. The diagonal
    contains the values, and columns before the diagonal contain 0.
    """
    table = np.zeros((N_AGES, N_AGES), values.dtype)
    for low in range(N_AGES):
        years = np.arange(1, N_AGES - low + 1)
        table[low, low:] = np.cumsum(values[low:].astype(np.float64)) / years
    return table


def mix(values: Tensor, order: Tensor, share: float) -> Tensor:
    """Return share * values + (1 - share) * values[order], MixUp [Zhang et al., ICLR 2018]."""
    return torch.lerp(values[order], values, share)


class HeadLoss(Protocol):
    """The protocol for the loss of a head: it makes targets from ages, and losses from both."""

    def target(self, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N targets for N ages in years. MixUp can mix them."""

    def loss(self, logits: Tensor, target: Tensor, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N losses for N x K logits, N targets and N ages in years."""

    def log_range(self, logits: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the N logarithms of the probability of N ranges, for N x K logits.

        `low` and `high` are whole years, and belong to the range.
        """


class DistributionLoss:
    """The loss of label distributions, with the terms of the recipe."""

    def target(self, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return N x 101 label distributions for N ages in years."""
        return label_distribution(ages, config.sigma, config.sigma_max)

    def loss(self, logits: Tensor, target: Tensor, ages: Tensor, config: TrainConfig) -> Tensor:
        """Return the N losses of `distribution_loss` for N x 101 logits and targets."""
        log_probabilities = HEADS["distribution"].log_probabilities(logits)
        return distribution_loss(log_probabilities, target, ages, config)

    def log_range(self, logits: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the N logarithms of the probability of N ranges, for N x 101 logits."""
        log_probabilities = HEADS["distribution"].log_probabilities(logits)
        years = support(logits)
        outside = (years < low[:, None]) | (years > high[:, None])
        return log_probabilities.masked_fill(outside, -torch.inf).logsumexp(dim=1)


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

    def log_range(self, logits: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the N logarithms of the probability of N ranges, for N x 100 logits.

        The logits are sorted as in the head. With a >= b for the logits of P(age > low - 1) and
        P(age > high), sigmoid(a) - sigmoid(b) = sigmoid(a) * sigmoid(-b) * (1 - exp(b - a)). Its
        logarithm has a gradient even where the difference is too small for float32.
        """
        older = logits.float().sort(dim=1, descending=True).values
        first = torch.full_like(older[:, :1], CERTAIN)
        older = torch.cat([first, older, -first], dim=1)
        a, b = (older.gather(1, end[:, None])[:, 0] for end in (low, high + 1))
        difference = (a - b).clamp_min(SMALLEST_DIFFERENCE)
        return F.logsigmoid(a) + F.logsigmoid(-b) + (-torch.expm1(-difference)).log()


HEAD_LOSSES: dict[str, HeadLoss] = {"distribution": DistributionLoss(), "ordinal": OrdinalLoss()}
