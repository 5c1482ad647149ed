"""Heads: from the logits of the last layer to a distribution over the years.

`distribution` is a softmax over the years. `ordinal` asks "older than k years?" for every k
[OR-CNN: Niu et al., CVPR 2016]. Both end in N x 101 probabilities, so that everything after the
head (age, interval, export, parity) is the same. What a head learns from is in
`halnet.training.losses`.
"""

from typing import Protocol

import torch
from torch import Tensor

from halnet.ages import N_AGES
from halnet.errors import ConfigError

SMALLEST = 1e-8  # probability: keeps logarithms finite


class Head(Protocol):
    """What the network needs of a head."""

    outputs: int  # number of logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32, for N x K logits."""

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 logarithms of the probabilities, float32, for N x K logits."""


class DistributionHead:
    """One logit for each year and a softmax over them [DLDL-v2: Gao et al., IJCAI 2018]."""

    outputs = N_AGES

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32, for N x 101 logits."""
        return logits.float().softmax(dim=1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 log probabilities, float32, for N x 101 logits."""
        return logits.float().log_softmax(dim=1)


class OrdinalHead:
    """One logit for each threshold: P(age > k) for k = 0..99.

    The answers are independent, so they need not fall as k grows. Sorting makes them fall: the
    result is never farther from the true curve [Chernozhukov et al., Biometrika 2009] and has the
    same mean age.
    """

    outputs = N_AGES - 1

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32: the differences of the sorted answers."""
        older = logits.float().sigmoid().sort(dim=1, descending=True).values
        ones, zeros = torch.ones_like(older[:, :1]), torch.zeros_like(older[:, :1])
        return torch.cat([ones, older], dim=1) - torch.cat([older, zeros], dim=1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 log probabilities, float32, for N x 100 logits."""
        return self.probabilities(logits).clamp_min(SMALLEST).log()


HEADS: dict[str, Head] = {"distribution": DistributionHead(), "ordinal": OrdinalHead()}


def find_head(name: str) -> Head:
    """Return the head of a name in `HEADS`; ConfigError for another name."""
    if name not in HEADS:
        raise ConfigError(f"head {name}: expected one of {', '.join(HEADS)}")
    return HEADS[name]
