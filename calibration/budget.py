"""Budget: how far INT8 may move ages, and how far it does."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from halnet.errors import ConfigError


@dataclass(frozen=True)
class AgeShift:
    """What quantization does to the ages of some crops, and to speed."""

    mean: float  # years, of abs(delta age)
    p99: float  # years, of abs(delta age)
    p99_bound: float  # years: the p99 of other photos is no larger, with 95 % confidence
    maximum: float  # years, of abs(delta age)
    delta_mae: float | None  # years; None where the true ages are not known
    milliseconds: float | None = None  # of one crop, median; None where not timed


@dataclass(frozen=True)
class Budget:
    """How far ages may move on the validation split."""

    mae: float = 0.05  # years, abs(delta MAE)
    p99: float = 2.0  # years, 99th percentile of abs(delta age), that of other photos included

    def __post_init__(self) -> None:
        for name, value in (("mae", self.mae), ("p99", self.p99)):
            if not value > 0:  # NaN fails too
                raise ConfigError(f"budget of {name}: expected more than 0 years, found {value:g}")

    def holds(self, shift: AgeShift) -> bool:
        """Tell whether a shift lies inside; what is not known is not judged."""
        return shift.p99_bound <= self.p99 and abs(shift.delta_mae or 0.0) <= self.mae


def percentile_bound(
    values: Sequence[float], share: float = 0.99, confidence: float = 0.95
) -> float:
    """Return an upper bound of the percentile of which `values` are a sample.

    The least of the values that reaches it with the confidence asked for, whatever their
    distribution [Hahn and Meeker, Statistical Intervals, 1991, section 5.2]; the largest where they
    are too few for it (99 % with 95 % take 299).
    """
    count = len(values)
    beyond, doubt = 0, share**count
    while doubt <= 1 - confidence:
        beyond += 1
        doubt += math.comb(count, beyond) * (1 - share) ** beyond * share ** (count - beyond)
    return float(sorted(values)[-max(beyond, 1)])
