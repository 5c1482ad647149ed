"""Scores: errors of predicted ages and coverage of intervals, for one group of photos.

MAE is the mean absolute error. CS@k, the cumulative score, is the share of photos with an error of
at most k years. Bias is the mean of predicted minus true age. If labels are ranges of ages, they
are replaced by the share of predicted ages inside the range and the mean distance to the range.

A group of fewer than `MIN_PHOTOS` photos, or a whole dataset of so few, has mean errors only. Its
shares and intervals say too little to be stated in a report.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import Floats
from halnet.evaluation.predictions import Predictions
from halnet.evaluation.rates import MIN_PHOTOS, Rate

BOOTSTRAP_ROUNDS = 2000
_BLOCK = 4_000_000  # number of errors that are drawn at the same time, which bounds the memory

Interval = tuple[float, float]
Chosen = NDArray[np.bool_]  # N values: which photos belong to a group
NO_INTERVAL: Interval = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Score:
    """Metrics of photos with exact ages. Without photos, all values are NaN."""

    count: int  # number of photos
    mae: float  # years
    bias: float  # years; above 0, people are predicted too old
    cs3: float  # share of photos with an error of at most 3 years, 0 to 1
    cs5: float  # share of photos with an error of at most 5 years, 0 to 1
    coverage: float  # share of true ages inside the 90 % interval, 0 to 1
    width: float  # mean width of the 90 % interval, years
    mae_interval: Interval | None = None  # bootstrap 95 % interval, years; None: not computed

    @property
    def has_rates(self) -> bool:
        """Whether there are enough photos to state shares and intervals."""
        return self.count >= MIN_PHOTOS

    @property
    def error(self) -> float:
        """The mean error that is compared: the MAE, in years."""
        return self.mae

    @property
    def error_interval(self) -> Interval:
        """The bootstrap 95 % interval of the MAE, years; NaN if it is not computed."""
        return self.mae_interval or NO_INTERVAL

    @property
    def coverage_interval(self) -> Interval:
        """The exact 95 % interval of the coverage, 0 to 1."""
        return _interval_of(self.coverage, self.count)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON. With too few photos, shares and intervals are None."""
        values = {**asdict(self), "coverage_interval": self.coverage_interval}
        shares = ("cs3", "cs5", "coverage", "coverage_interval", "mae_interval")
        return values if self.has_rates else {**values, **dict.fromkeys(shares)}


@dataclass(frozen=True)
class RangeScore:
    """Metrics of photos whose labels are ranges of ages."""

    count: int  # number of photos
    inside: float  # share of predicted ages inside the range, 0 to 1
    distance: float  # mean distance from the predicted age to the range, years
    bias: float  # mean signed distance, years; above 0, people are predicted too old
    coverage: float  # share of 90 % intervals that meet the range, 0 to 1
    width: float  # mean width of the 90 % interval, years
    distance_interval: Interval | None = None  # bootstrap 95 % interval; None: not computed

    @property
    def has_rates(self) -> bool:
        """Whether there are enough photos to state shares and intervals."""
        return self.count >= MIN_PHOTOS

    @property
    def error(self) -> float:
        """The mean error that is compared: the distance, in years."""
        return self.distance

    @property
    def error_interval(self) -> Interval:
        """The bootstrap 95 % interval of the distance, years; NaN if it is not computed."""
        return self.distance_interval or NO_INTERVAL

    @property
    def inside_interval(self) -> Interval:
        """The exact 95 % interval of the share inside, 0 to 1."""
        return _interval_of(self.inside, self.count)

    @property
    def coverage_interval(self) -> Interval:
        """The exact 95 % interval of the coverage, 0 to 1."""
        return _interval_of(self.coverage, self.count)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON. With too few photos, shares and intervals are None."""
        values = {
            **asdict(self),
            "inside_interval": self.inside_interval,
            "coverage_interval": self.coverage_interval,
        }
        shares = ("inside", "inside_interval", "coverage", "coverage_interval", "distance_interval")
        return values if self.has_rates else {**values, **dict.fromkeys(shares)}


def score_exact(predictions: Predictions, group: Chosen, bootstrap: bool = True) -> Score:
    """Return the metrics of the photos of a group, all of which have exact ages.

    Without `bootstrap`, the interval of the MAE is not computed.
    """
    count = int(group.sum())
    if not count:
        nan = float("nan")
        return Score(0, nan, nan, nan, nan, nan, nan)
    error = predictions.error[group]
    return Score(
        count=count,
        mae=float(np.abs(error).mean()),
        bias=float(error.mean()),
        cs3=float((np.abs(error) <= 3).mean()),
        cs5=float((np.abs(error) <= 5).mean()),
        coverage=float(predictions.inside[group].mean()),
        width=float((predictions.high - predictions.low)[group].mean()),
        mae_interval=bootstrap_mean(np.abs(error)) if bootstrap else None,
    )


def score_ranges(predictions: Predictions, group: Chosen, bootstrap: bool = True) -> RangeScore:
    """Return the metrics of the photos of a group, at least one, whose labels are ranges.

    Without `bootstrap`, the interval of the distance is not computed.
    """
    error = predictions.error[group]
    return RangeScore(
        count=len(error),
        inside=float((error == 0).mean()),
        distance=float(np.abs(error).mean()),
        bias=float(error.mean()),
        coverage=float(predictions.inside[group].mean()),
        width=float((predictions.high - predictions.low)[group].mean()),
        distance_interval=bootstrap_mean(np.abs(error)) if bootstrap else None,
    )


def bootstrap_mean(errors: Floats) -> Interval:
    """Return the bootstrap 95 % interval of the mean of N errors."""
    rng = np.random.default_rng(0)
    count = len(errors)
    rows = max(1, _BLOCK // count)
    means = []
    for start in range(0, BOOTSTRAP_ROUNDS, rows):
        picks = rng.integers(0, count, (min(rows, BOOTSTRAP_ROUNDS - start), count))
        means.append(errors[picks].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(low), float(high)


def _interval_of(share: float, count: int) -> Interval:
    return Rate(round(share * count), count).interval if count else NO_INTERVAL
