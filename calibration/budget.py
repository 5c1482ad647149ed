"""The budget: how far INT8 may shift ages, and the figures that are compared with it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from halnet.errors import ConfigError

# Photos of one of several datasets. With fewer, the bound below is no better than the largest
# shift, and the MAE changes by chance.
MIN_SET = 299


@dataclass(frozen=True)
class AgeShift:
    """How far quantization shifts the ages of some crops, and how fast the graph is."""

    mean: float  # years, of abs(delta age)
    p99: float  # years, of abs(delta age)
    p99_bound: float  # years; with 95 % confidence, the p99 of other photos is not larger
    maximum: float  # years, of abs(delta age)
    # Years; None where the true ages are not known. The error of a photo whose label is a range of
    # ages is the distance to the range.
    delta_mae: float | None
    milliseconds: float | None = None  # median time for one crop; None: not measured
    # Of each of several datasets with at least `MIN_SET` photos, by its name.
    by_set: Mapping[str, "AgeShift"] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values; `by_set` only if it is not empty."""
        values = {name: value for name, value in vars(self).items() if name != "by_set"}
        if self.by_set:
            values["by_set"] = {name: part.to_dict() for name, part in self.by_set.items()}
        return values


@dataclass(frozen=True)
class Budget:
    """How far ages may shift on the validation split."""

    mae: float = 0.05  # years, limit of abs(delta MAE)
    p99: float = 2.0  # years, limit of the 99th percentile of abs(delta age), for other photos too

    def __post_init__(self) -> None:
        for name, value in (("mae", self.mae), ("p99", self.p99)):
            if not value > 0:  # this also refuses NaN
                raise ConfigError(f"budget of {name}: expected more than 0 years, found {value:g}")

    def allows(self, shift: AgeShift) -> bool:
        """Return whether a shift is within the budget, for all photos and for each large dataset.

        An unknown change of the MAE counts as 0.
        """
        return self.find_excess(shift) is None

    def find_excess(self, shift: AgeShift) -> tuple[str, AgeShift] | None:
        """Return the first part of a shift that exceeds the budget; None if it is within it.

        The part has the name of a dataset, or "" for all photos together.
        """
        for name, part in {"": shift, **shift.by_set}.items():
            if not (part.p99_bound <= self.p99 and abs(part.delta_mae or 0.0) <= self.mae):
                return name, part
        return None


def percentile_bound(
    values: Sequence[float], share: float = 0.99, confidence: float = 0.95
) -> float:
    """Return an upper bound of a percentile of the distribution that `values` are drawn from.

    It is the smallest of the values that is at least the percentile with this confidence, for any
    distribution [Hahn and Meeker, Statistical Intervals, 1991, section 5.2]. Where there are too
    few values for the confidence, it is the largest: 99 % with 95 % confidence needs 299 values.
    """
    count = len(values)
    above, doubt = 0, share**count  # probability that at most `above` values exceed the percentile
    while doubt <= 1 - confidence:
        above += 1
        doubt += math.comb(count, above) * (1 - share) ** above * share ** (count - above)
    return float(sorted(values)[-max(above, 1)])
