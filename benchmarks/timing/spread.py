"""Spread: how sure a median time, and the ratio of two of them, is.

The runs of one turn follow each other directly, so that they share what slows the machine at that
moment. Only turns are nearly independent. Intervals therefore come from a bootstrap over turns:
whole turns are drawn, and of each turn its median. [Kalibera and Jones, "Rigorous Benchmarking in
Reasonable Time", ISMM 2013; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from halnet.ages import Floats

ROUNDS = 2000  # of the bootstrap
MIN_TURNS = 10  # with fewer turns, an interval says nothing
MAX_WIDTH = 0.1  # of the value: with a wider interval, a comparison is worth nothing


@dataclass(frozen=True)
class Ratio:
    """How many times as long one thing takes as another, with a 95 % interval."""

    value: float  # median over the turns of the one, divided by that of the other
    low: float | None = None  # None: there are too few turns
    high: float | None = None

    @property
    def is_worthless(self) -> bool:
        """Whether the interval is unknown, or wider than `MAX_WIDTH` of the ratio."""
        return is_wide(self.value, self.low, self.high)

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def is_wide(value: float, low: float | None, high: float | None) -> bool:
    """Return whether an interval is unknown, or wider than `MAX_WIDTH` of its value."""
    return low is None or high is None or high - low > MAX_WIDTH * value


def median_interval(medians: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of a median from the medians of its turns.

    With fewer than `MIN_TURNS` turns, it is (None, None).
    """
    if len(medians) < MIN_TURNS:
        return None, None
    return _percentiles(_draw(np.asarray(medians), _picks(len(medians), 0)))


def paired_ratio(times: Sequence[float], reference: Sequence[float]) -> Ratio:
    """Return the ratio of two candidates that were timed in turns, from the medians of the turns.

    Turn i of both was at nearly the same moment, so turns are drawn in pairs: a slow phase of the
    machine slows both, and leaves their ratio as it is.
    """
    own, other = np.asarray(times), np.asarray(reference)
    value = float(np.median(own) / np.median(other))
    if len(own) != len(other) or len(own) < MIN_TURNS:
        return Ratio(value)
    picks = _picks(len(own), 0)
    return Ratio(value, *_percentiles(_draw(own, picks) / _draw(other, picks)))


def unpaired_ratio(times: Sequence[float], reference: Sequence[float]) -> Ratio:
    """Return the ratio of two candidates of two benchmarks, from the medians of their turns."""
    own, other = np.asarray(times), np.asarray(reference)
    value = float(np.median(own) / np.median(other))
    if min(len(own), len(other)) < MIN_TURNS:
        return Ratio(value)
    drawn = _draw(own, _picks(len(own), 0)) / _draw(other, _picks(len(other), 1))
    return Ratio(value, *_percentiles(drawn))


def _picks(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, count, (ROUNDS, count))


def _draw(medians: Floats, picks: NDArray[np.int64]) -> Floats:
    return np.asarray(np.median(medians[picks], axis=1))


def _percentiles(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
