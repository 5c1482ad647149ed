"""Rates: shares of photos, with exact intervals for what more photos would show."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Number of photos. A dataset or a group with fewer states no rate, because its 95 % interval would
# be wider than 20 percentage points even at a rate of 90 %.
MIN_PHOTOS = 20
TOO_FEW = "too few"  # what a table has in place of a rate
CONFIDENCE = 0.95  # level of the intervals of rates
_STEPS = 60  # halvings of the range from 0 to 1, which are more than float64 can represent


@dataclass(frozen=True)
class Rate:
    """The share of photos that have a property."""

    hits: int  # number of photos with the property
    count: int  # number of all photos

    @property
    def share(self) -> float:
        """The share, 0 to 1; NaN without photos."""
        return self.hits / self.count if self.count else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the share, 0 to 1."""
        return exact_interval(self.hits, self.count)

    @property
    def is_stated(self) -> bool:
        """Whether there are enough photos to state the rate."""
        return self.count >= MIN_PHOTOS

    @property
    def stated(self) -> float | None:
        """The share, 0 to 1, or None if there are too few photos to state it."""
        return self.share if self.is_stated else None

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON. If there are too few photos, share and interval are None."""
        return {
            "hits": self.hits,
            "count": self.count,
            "share": self.stated,
            "interval": self.interval if self.is_stated else None,
        }


@lru_cache(maxsize=1024)
def exact_interval(hits: int, count: int, level: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact interval of a share, for `hits` of `count` [Clopper, Pearson 1934].

    Both ends are between 0 and 1. Without photos, they are 0 and 1. The method is exact: in
    repeated samples, the interval contains the true share at least as often as `level` states.
    """
    tail = (1 - level) / 2
    return _lower_end(hits, count, tail), 1 - _lower_end(count - hits, count, tail)


def _lower_end(hits: int, count: int, tail: float) -> float:
    """Return the share at which `hits` or more of `count` have the probability `tail`."""
    if hits == 0:
        return 0.0
    number = np.arange(hits, count + 1)
    factorials = _log_factorials(count)
    ways = factorials[count] - factorials[number] - factorials[count - number]
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        share = (low + high) / 2
        if share in (0.0, 1.0):
            break
        logs = ways + number * np.log(share) + (count - number) * np.log1p(-share)
        low, high = (share, high) if np.exp(logs).sum() < tail else (low, share)
    return (low + high) / 2


def _log_factorials(count: int) -> NDArray[np.float64]:
    """Return the logarithms of the factorials of 0 to `count`."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1, dtype=np.float64)))])
