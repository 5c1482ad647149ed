"""Figures of a report: rates and means that are stated only where enough photos stand behind them.

The interval of a rate is exact [Clopper, Pearson 1934], and that of a mean is a bootstrap interval;
both at 95 %. Where nothing was seen in n photos, the true rate is below 3 / n with 95 % confidence
["rule of three": Hanley, Lippman-Hand, JAMA 1983].
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from halnet.ages import Floats
from halnet.audit.schema import about
from halnet.evaluation.rates import MIN_PHOTOS, Rate
from halnet.evaluation.scores import Chosen, bootstrap_mean

RULE_OF_THREE = 3  # divided by the number of photos


@dataclass(frozen=True)
class StatedRate:
    """The share of photos that have a property; without a value if there are too few photos."""

    hits: int = field(metadata=about("Number of photos with the property.", 0))
    count: int = field(metadata=about("Number of all photos.", 0))
    share: float | None = field(metadata=about("Share; null: too few photos.", 0, 1))
    low: float | None = field(metadata=about("Lower end of the exact 95 % interval.", 0, 1))
    high: float | None = field(metadata=about("Upper end of the exact 95 % interval.", 0, 1))
    bound: float | None = field(
        metadata=about(
            "By the rule of three, with 95 % confidence: the largest share if there are no hits, "
            "the smallest share if all photos are hits. Null in all other cases.",
            0,
            1,
        )
    )

    @classmethod
    def of(cls, hits: int, count: int) -> Self:
        """Return the rate for `hits` of `count` photos."""
        rate = Rate(hits, count)
        if not rate.is_stated:
            return cls(hits, count, None, None, None, None)
        low, high = rate.interval
        rest = RULE_OF_THREE / count
        bound = {0: rest, count: 1 - rest}.get(hits)
        return cls(hits, count, rate.share, low, high, bound)

    @classmethod
    def among(cls, hit: Chosen, chosen: Chosen) -> Self:
        """Return the share of the chosen photos that are hits; both arguments have N values."""
        return cls.of(int((hit & chosen).sum()), int(chosen.sum()))


@dataclass(frozen=True)
class StatedMean:
    """The mean of a value over photos; without a value if there are too few photos."""

    count: int = field(metadata=about("Number of photos.", 0))
    value: float | None = field(metadata=about("Mean in years; null: too few photos."))
    low: float | None = field(metadata=about("Lower end of the bootstrap 95 % interval, years."))
    high: float | None = field(metadata=about("Upper end of the bootstrap 95 % interval, years."))

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Return the mean of N values in years."""
        if len(values) < MIN_PHOTOS:
            return cls(len(values), None, None, None)
        low, high = bootstrap_mean(np.asarray(values, np.float64))
        return cls(len(values), float(np.mean(values)), low, high)
