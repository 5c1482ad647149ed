"""Two reports compared: what is better or worse now, beyond chance.

Where both reports have the same photos, the two results for each photo are compared (paired), which
finds smaller differences than a comparison of two means. Rates are compared by exact tests: McNemar
if they are paired, Fisher if not. Means are compared by permutation tests: random signs of the
paired differences, or shuffled photos. The p-values are corrected for their number [Holm 1979].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from halnet.ages import LEVEL as INTERVAL_LEVEL
from halnet.ages import Floats
from halnet.audit.age_checks import LEGAL_AGES, OF_GROUPS
from halnet.audit.chance import LEVEL, bootstrap_gap, fisher, holm, mcnemar, shuffle_test, sign_flip
from halnet.audit.photo_table import PhotoTable
from halnet.audit.schema import about
from halnet.audit.slices import ALL, YEAR, Slice, find_slices
from halnet.audit.subject import Subject
from halnet.evaluation.predictions import Predictions
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.evaluation.scores import Chosen, bootstrap_mean

BETTER, WORSE, HIGHER, LOWER = "better", "worse", "higher", "lower"
NO_DIFFERENCE, TOO_FEW = "no difference shown", "too few"
RESULTS = (BETTER, WORSE, HIGHER, LOWER, NO_DIFFERENCE, TOO_FEW)
FAIR, FEWER, NEITHER = "coverage", "lower is better", "neither"


@dataclass(frozen=True)
class Change:
    """One figure of both reports."""

    measure: str
    photos_of: str = field(metadata=about("Which photos."))
    then_photos: int = field(metadata=about("Number of photos in the earlier report.", 0))
    photos: int = field(metadata=about("Number of photos in this report.", 0))
    then: float | None = field(metadata=about("Value in the earlier report; null: too few photos."))
    now: float | None = field(metadata=about("Value in this report; null: too few photos."))
    low: float | None = field(metadata=about("Lower end of the 95 % interval of now less then."))
    high: float | None = field(metadata=about("Upper end of the 95 % interval of now less then."))
    p: float | None = field(
        metadata=about("Corrected probability of such a change by chance.", 0, 1)
    )
    result: str = field(metadata=about("What is shown beyond chance.", values=RESULTS))


@dataclass(frozen=True)
class Comparison:
    """An earlier report compared with this one."""

    then: Subject = field(metadata=about("What the earlier report tested."))
    is_paired: bool = field(metadata=about("Whether the same photos are compared."))
    shared_photos: int = field(metadata=about("Photos with the same label in both reports.", 0))
    then_photos: int = field(metadata=about("Photos in the earlier report.", 0))
    photos: int = field(metadata=about("Photos in this report.", 0))
    changes: tuple[Change, ...]


@dataclass(frozen=True, eq=False)
class Measure:
    """One value for each photo, 0 or 1 for a rate."""

    name: str
    values: Floats  # N
    known: Chosen  # N: which photos have a value
    is_rate: bool
    direction: str  # FEWER, FAIR or NEITHER


def compare(then: PhotoTable, then_subject: Subject, now: PhotoTable) -> Comparison:
    """Return the comparison of the photos of two reports.

    If at least `MIN_PHOTOS` photos are in both, only these are compared, in pairs.
    """
    first, second = _pair(then, now)
    shared = len(first)
    is_paired = shared >= MIN_PHOTOS
    old, new = then.to_predictions(), now.to_predictions()
    if is_paired:
        old, new = old.take(first), new.take(second)
    changes = list(_list_changes(old, new, is_paired))
    known = [i for i, change in enumerate(changes) if change.p is not None]
    adjusted = holm([changes[i].p or 0.0 for i in known])
    for i, p in zip(known, adjusted, strict=True):
        result = changes[i].result if p <= LEVEL else NO_DIFFERENCE
        changes[i] = replace(changes[i], p=p, result=result)
    return Comparison(then_subject, is_paired, shared, len(then.id), len(now.id), tuple(changes))


def _pair(then: PhotoTable, now: PhotoTable) -> tuple[list[int], list[int]]:
    """Return the places of the photos that have the same label in both tables."""
    places = {
        key: i for i, key in enumerate(zip(then.id, then.label_low, then.label_high, strict=True))
    }
    keys = enumerate(zip(now.id, now.label_low, now.label_high, strict=True))
    pairs = [(places[key], i) for i, key in keys if key in places]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _list_changes(old: Predictions, new: Predictions, is_paired: bool) -> Iterator[Change]:
    """Yield each figure, with the p-value alone and the direction of the change as its result."""
    pairs = list(zip(_find_measures(old), _find_measures(new), strict=True))
    old_slices = {(part.kind, part.name): part for part in find_slices(old)}
    for number, (before, after) in enumerate(pairs):
        for part in find_slices(new):
            # The errors and intervals of every part; the results of checks of all photos alone.
            if part.kind == YEAR or (number > 1 and part.kind != ALL):
                continue
            same = part if is_paired else old_slices.get((part.kind, part.name))
            if same is None:
                continue
            if (part.chosen & after.known).any():
                yield _compare(before, after, same, part, is_paired)


def _find_measures(predictions: Predictions) -> Iterator[Measure]:
    exact = predictions.is_exact
    error = np.abs(predictions.error)
    everyone = np.ones(len(predictions), bool)
    yield Measure("mean distance to the true age (or range), years", error, everyone, False, FEWER)
    inside = predictions.inside.astype(float)
    yield Measure("coverage of the 90 % interval", inside, everyone, True, FAIR)
    width = predictions.high - predictions.low
    yield Measure("width of the 90 % interval, years", width, everyone, False, NEITHER)
    yield Measure("bias, years", predictions.error, exact, False, NEITHER)
    for legal in LEGAL_AGES:
        below, of_age = predictions.label_high < legal, predictions.label_low >= legal
        for above in OF_GROUPS:
            passed = predictions.age >= legal + above
            text = f"legal age {legal}, challenge age {legal + above}"
            yield Measure(
                f"let through below {legal} ({text})", passed.astype(float), below, True, FEWER
            )
            yield Measure(
                f"referred from {legal} on ({text})", (~passed).astype(float), of_age, True, FEWER
            )


def _compare(before: Measure, after: Measure, old: Slice, new: Slice, is_paired: bool) -> Change:
    first = before.values[old.chosen & before.known]
    second = after.values[new.chosen & after.known]
    counts = len(first), len(second)
    if min(counts) < MIN_PHOTOS:
        return Change(after.name, new.name, *counts, None, None, None, None, None, TOO_FEW)
    then, now = float(first.mean()), float(second.mean())
    low, high = bootstrap_mean(second - first) if is_paired else bootstrap_gap(first, second)
    p = _test(first, second, after.is_rate, is_paired)
    result = _name_change(then, now, after.direction)
    return Change(after.name, new.name, *counts, then, now, low, high, p, result)


def _test(first: Floats, second: Floats, is_rate: bool, is_paired: bool) -> float:
    if is_paired and is_rate:
        return mcnemar(int((first > second).sum()), int((second > first).sum()))
    if is_rate:
        return fisher(int(first.sum()), len(first), int(second.sum()), len(second))
    return sign_flip(second - first) if is_paired else shuffle_test(first, second)


def _name_change(then: float, now: float, direction: str) -> str:
    """Return what the change is called if it is more than chance."""
    if direction == FEWER:
        return BETTER if now < then else WORSE
    # A coverage below the stated level is a broken promise. One above it is merely cautious.
    if direction == FAIR and min(then, now) < INTERVAL_LEVEL:
        return BETTER if now > then else WORSE
    return HIGHER if now > then else LOWER
