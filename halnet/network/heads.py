"""Heads: they turn the logits of the last layer into a distribution over the years.

`distribution` is a softmax over the years. `ordinal` answers "older than k years?" for each k
[OR-CNN: Niu et al., CVPR 2016]. Both return N x 101 probabilities, so that all that comes after the
head (age, interval, export, parity) is the same. The losses of the heads are in
`halnet.training.losses`.
"""

from typing import Protocol

import torch
from torch import Tensor

from halnet.ages import N_AGES
from halnet.errors import ConfigError

SMALLEST = 1e-8  # smallest probability: it keeps logarithms finite


class Head(Protocol):
    """The protocol that the network expects of a head."""

    outputs: int  # number of logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32, for N x K logits."""

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return the logarithms of N x 101 probabilities, float32, for N x K logits."""


class DistributionHead:
    """One logit for each year and a softmax over them [DLDL-v2: Gao et al., IJCAI 2018]."""

    outputs = N_AGES

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32, for N x 101 logits."""
        return logits.float().softmax(dim=1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return the logarithms of N x 101 probabilities, float32, for N x 101 logits."""
        return logits.float().log_softmax(dim=1)


class OrdinalHead:
    """One logit for each threshold k from 0 to 99, whose sigmoid is P(age > k).

    P(age > k) must not rise with k, but the network predicts each value independently. The head
    sorts them: the sorted curve is never farther from the true one [Chernozhukov et al., Biometrika
    2009], and it has the same mean age.
    """

    outputs = N_AGES - 1

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return N x 101 probabilities, float32, for N x 100 logits."""
        older = logits.float().sigmoid().sort(dim=1, descending=True).values
        ones, zeros = torch.ones_like(older[:, :1]), torch.zeros_like(older[:, :1])
        return torch.cat([ones, older], dim=1) - torch.cat([older, zeros], dim=1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """Return the logarithms of N x 101 probabilities, float32, for N x 100 logits."""
        return self.probabilities(logits).clamp_min(SMALLEST).log()


HEADS: dict[str, Head] = {"distribution": DistributionHead(), "ordinal": OrdinalHead()}


def find_head(name: str) -> Head:
    """Return the head with this name in `HEADS`. Raises ConfigError for another name."""
    if name not in HEADS:
        raise ConfigError(f"head: expected one of {', '.join(HEADS)}, found {name}")
    return HEADS[name]
