"""Metrics of a model on labelled photos: scores of all photos and of groups, and age checks.

Scores are computed for each decade, each sex and each group that the dataset states too, because
the overall values hide their differences. Photos with exact ages and photos with ranges of ages are
evaluated separately.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from halnet.ages import AGE_MAX
from halnet.evaluation.age_checks import (
    Challenge,
    MinorErrors,
    Reliability,
    check_ages,
    find_minor_errors,
    measure_reliability,
)
from halnet.evaluation.predictions import Predictions
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.evaluation.scores import (
    Chosen,
    Interval,
    RangeScore,
    Score,
    score_exact,
    score_ranges,
)

# A column of a CSV file can have a value for each photo, such as a number. Values with fewer photos
# than the most frequent ones are then evaluated together.
MAX_VALUES = 50
OTHER_VALUES = "all other values"

S = TypeVar("S", Score, RangeScore)


@dataclass(frozen=True)
class RangeEvaluation:
    """Metrics of a model on photos whose labels are ranges of ages."""

    overall: RangeScore
    by_range: dict[str, RangeScore]  # "3-9": ...
    by_sex: dict[str, RangeScore]
    by_group: dict[str, dict[str, RangeScore]]  # by the name and the value of a group

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as values for JSON."""
        return {
            "overall": self.overall.to_dict(),
            "by_range": _groups_to_dict(self.by_range),
            "by_sex": _groups_to_dict(self.by_sex),
            "by_group": {name: _groups_to_dict(part) for name, part in self.by_group.items()},
        }


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a model on labelled photos. All scores are those of photos with exact ages."""

    overall: Score
    by_decade: dict[str, Score]  # "20-29": ...
    by_sex: dict[str, Score]  # "female" and "male", if the dataset states them
    challenges: tuple[Challenge, ...]  # one for each challenge age
    reliability: tuple[Reliability, ...]  # one for each range of probabilities with photos
    minors: tuple[MinorErrors, ...]  # of all minors, and of those aged 13 to 17
    by_group: dict[str, dict[str, Score]] = field(default_factory=dict)  # by name and value
    ranges: RangeEvaluation | None = None  # of the photos whose labels are ranges; None: no such

    @property
    def mae_interval(self) -> Interval:
        """The bootstrap 95 % interval of the MAE of all photos, years; NaN without photos."""
        return self.overall.error_interval

    @property
    def main_score(self) -> Score | RangeScore:
        """The score of all photos with exact ages; if there are none, that of the ranges."""
        return self.ranges.overall if self.ranges and not self.overall.count else self.overall

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as values for JSON, with None in place of NaN.

        Shares and intervals of fewer photos than `rates_from_photos` are None too.
        """
        values = {
            "overall": self.overall.to_dict(),
            "mae_interval": self.mae_interval if self.overall.has_rates else None,
            "by_decade": _groups_to_dict(self.by_decade),
            "by_sex": _groups_to_dict(self.by_sex),
            "by_group": {name: _groups_to_dict(part) for name, part in self.by_group.items()},
            "challenges": [part.to_dict() for part in self.challenges],
            "reliability": [part.to_dict() for part in self.reliability],
            "minors": [part.to_dict() for part in self.minors],
            "rates_from_photos": MIN_PHOTOS,
            **({"ranges": self.ranges.to_dict()} if self.ranges else {}),
        }
        return dict(without_nan(values))


def evaluate(predictions: Predictions) -> Evaluation:
    """Return the metrics of predictions."""
    exact = predictions.is_exact
    return Evaluation(
        overall=score_exact(predictions, exact),
        by_decade=_score_each(score_exact, predictions, decades(predictions)),
        by_sex=_score_each(score_exact, predictions, _values(predictions.sex, exact)),
        by_group=_score_groups(score_exact, predictions, exact),
        challenges=check_ages(predictions),
        reliability=measure_reliability(predictions),
        minors=find_minor_errors(predictions),
        ranges=None if exact.all() else _evaluate_ranges(predictions),
    )


def decades(predictions: Predictions) -> dict[str, Chosen]:
    """Return the photos of each decade of exact ages, by names such as "20-29"."""
    exact = predictions.is_exact
    decade = predictions.label_low.astype(int) // 10 * 10
    return {
        # Higher ages are stored as the highest age that a model knows.
        f"{d}-{d + 9}" if d < AGE_MAX else f"{AGE_MAX}+": exact & (decade == d)
        for d in sorted(set(decade[exact].tolist()))
    }


def label_ranges(predictions: Predictions) -> dict[str, Chosen]:
    """Return the photos of each range of ages, by names such as "3-9"."""
    low, high = predictions.label_low.astype(int), predictions.label_high.astype(int)
    ranges = ~predictions.is_exact
    pairs = sorted(set(zip(low[ranges].tolist(), high[ranges].tolist(), strict=True)))
    return {f"{a}-{b}": (low == a) & (high == b) for a, b in pairs}


def _evaluate_ranges(predictions: Predictions) -> RangeEvaluation:
    ranges = ~predictions.is_exact
    return RangeEvaluation(
        overall=score_ranges(predictions, ranges),
        by_range=_score_each(score_ranges, predictions, label_ranges(predictions)),
        by_sex=_score_each(score_ranges, predictions, _values(predictions.sex, ranges)),
        by_group=_score_groups(score_ranges, predictions, ranges),
    )


def _score_each(
    score: Callable[[Predictions, Chosen], S], predictions: Predictions, parts: dict[str, Chosen]
) -> dict[str, S]:
    return {name: score(predictions, chosen) for name, chosen in parts.items()}


def _score_groups(
    score: Callable[[Predictions, Chosen], S], predictions: Predictions, chosen: Chosen
) -> dict[str, dict[str, S]]:
    """Return the scores of each group of the chosen photos, by its name and value."""
    scores = {
        name: _score_each(score, predictions, _values(values, chosen))
        for name, values in predictions.groups.items()
    }
    return {name: part for name, part in scores.items() if part}


def _values(values: tuple[str, ...], chosen: Chosen) -> dict[str, Chosen]:
    """Return which of the chosen photos have each value. Photos without a value are left out.

    If there are more than `MAX_VALUES` values, the rarest ones count as one.
    """
    counts = Counter(values[i] for i in np.flatnonzero(chosen) if values[i])
    kept = sorted(value for value, _ in counts.most_common(MAX_VALUES))
    array = np.asarray(values, object)
    found = {value: chosen & (array == value) for value in kept}
    if len(counts) > MAX_VALUES:
        known = np.isin(array.astype(str), ["", *kept])
        found[OTHER_VALUES] = chosen & ~known
    return found


def _groups_to_dict(scores: Mapping[str, Score] | Mapping[str, RangeScore]) -> dict[str, Any]:
    return {name: score.to_dict() for name, score in scores.items()}


def without_nan(value: Any) -> Any:
    """Return `value` with None in place of NaN, which JSON cannot represent."""
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and np.isnan(value) else value
