"""Slices: the parts of the photos for which a report states figures of their own."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from halnet.evaluation.metrics import MAX_VALUES, decades, label_ranges
from halnet.evaluation.predictions import Predictions
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.evaluation.scores import Chosen

ALL, DATASET, YEAR, BAND, RANGE, SEX, GROUP = KINDS = (
    *("all", "dataset", "year", "band", "range", "sex", "group"),
)


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of N photos."""

    kind: str  # one of KINDS
    name: str  # "30-39", "female", "race: Black"
    chosen: Chosen  # N


def find_slices(predictions: Predictions) -> Iterator[Slice]:
    """Yield all photos, each dataset, single year, band, sex and value of a group, with photos.

    Years and bands (decades) are those of exact ages. Ranges are those of the labels.
    Of a column with more than `MAX_VALUES` values, the most frequent ones are used.
    """
    yield Slice(ALL, "all photos", np.ones(len(predictions), bool))
    yield from _by_value(DATASET, predictions.dataset)
    exact, year = predictions.is_exact, predictions.label_low.astype(int)
    for age in sorted(set(year[exact].tolist())):
        yield Slice(YEAR, str(age), exact & (year == age))
    # A decade and a range may have the same name.
    for kind, parts in ((BAND, decades(predictions)), (RANGE, label_ranges(predictions))):
        for name, chosen in parts.items():
            yield Slice(kind, name, chosen)
    yield from find_groups(predictions)


def find_groups(predictions: Predictions) -> Iterator[Slice]:
    """Yield each sex, and each value of each group column."""
    yield from _by_value(SEX, predictions.sex)
    for column, values in predictions.groups.items():
        yield from _by_value(GROUP, values, f"{column}: ")


def is_large(part: Slice) -> bool:
    """Return whether a slice has enough photos to state rates."""
    return int(part.chosen.sum()) >= MIN_PHOTOS


def _by_value(kind: str, values: tuple[str, ...], prefix: str = "") -> Iterator[Slice]:
    """Yield the photos of each value, in the order of the names. Photos without one are left out.

    Datasets keep their order.
    """
    counts = Counter(value for value in values if value)
    kept = [value for value, _ in counts.most_common(MAX_VALUES)]
    names = [value for value in counts if value in kept]
    array = np.asarray(values, object)
    for value in names if kind == DATASET else sorted(names):
        yield Slice(kind, prefix + value, np.asarray(array == value))
