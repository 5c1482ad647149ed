"""Losses on label distributions: DLDL-v2 [Gao et al., IJCAI 2018]."""

import torch
from torch import Tensor

from halnet.ages import AGE_MAX, AGE_MIN


def support(like: Tensor) -> Tensor:
    """Return the ages 0..100 as float32 on the device of `like`."""
    return torch.arange(AGE_MIN, AGE_MAX + 1, dtype=torch.float32, device=like.device)


def label_distribution(ages: Tensor, sigma: float) -> Tensor:
    """Return N x 101 targets, p_k proportional to exp(-(k - age)^2 / (2 sigma^2))."""
    distance = support(ages) - ages.float()[:, None]
    return (-(distance**2) / (2 * sigma**2)).softmax(dim=1)


def dldl_v2(logits: Tensor, target: Tensor, ages: Tensor, mean_weight: float) -> Tensor:
    """KL(target || softmax(logits)) + mean_weight * abs(E[age] - age), mean over the batch.

    `logits` and `target` are N x 101, `ages` N in years.
    """
    log_probabilities = logits.float().log_softmax(dim=1)
    entropy = torch.special.entr(target).sum(dim=1)
    kl = -(target * log_probabilities).sum(dim=1) - entropy
    expectation = (log_probabilities.exp() * support(logits)).sum(dim=1)
    loss: Tensor = kl + mean_weight * (expectation - ages.float()).abs()
    return loss.mean()


def mix(values: Tensor, order: Tensor, share: float) -> Tensor:
    """MixUp [Zhang et al., ICLR 2018]: share * values + (1 - share) * values[order]."""
    return torch.lerp(values[order], values, share)
