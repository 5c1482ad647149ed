"""Differences between groups, and whether they are more than chance (see ISO/IEC 19795-10)."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from halnet.ages import Floats
from halnet.audit.chance import LEVEL, bootstrap_gap, holm, largest_gap
from halnet.audit.schema import about
from halnet.audit.slices import DATASET, GROUP, Slice, find_groups, find_slices, is_large
from halnet.evaluation.predictions import Predictions
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.evaluation.scores import Chosen

LEGAL, CHALLENGE = 18, 25  # years


@dataclass(frozen=True)
class Difference:
    """The largest gap between the groups of one kind, in one measure."""

    groups: str = field(metadata=about("What distinguishes the groups, such as sex or race."))
    measure: str = field(metadata=about("What is compared; shares are from 0 to 1."))
    lowest: str = field(metadata=about("Group with the lowest value."))
    lowest_value: float
    lowest_photos: int = field(metadata=about("Number of photos of this group.", 0))
    highest: str = field(metadata=about("Group with the highest value."))
    highest_value: float
    highest_photos: int = field(metadata=about("Number of photos of this group.", 0))
    gap: float = field(metadata=about("Highest less lowest value.", 0))
    gap_low: float = field(metadata=about("Lower end of its bootstrap 95 % interval."))
    gap_high: float = field(metadata=about("Upper end of its bootstrap 95 % interval."))
    ratio: float | None = field(
        metadata=about("Highest divided by lowest value; null: the lowest is 0.", 0)
    )
    p: float = field(metadata=about("Probability of such a gap by chance.", 0, 1))
    p_adjusted: float = field(metadata=about("The same, corrected for all rows [Holm].", 0, 1))
    too_few: tuple[str, ...] = field(
        metadata=about(f"Groups that are left out, with fewer than {MIN_PHOTOS} photos.")
    )

    @property
    def is_shown(self) -> bool:
        """Whether the gap is more than chance."""
        return self.p_adjusted <= LEVEL


def find_differences(
    predictions: Predictions, refused: Chosen | None = None, known: Chosen | None = None
) -> tuple[Difference, ...]:
    """Return the largest gap for each kind of groups and each measure that has two large groups.

    `refused` has the faces for which a check gives no result, of N, and `known` those of which this
    is known. With neither, this is no measure.
    """
    kinds: dict[str, list[Slice]] = {}
    for part in (*find_slices_of_sets(predictions), *find_groups(predictions)):
        name = part.name.partition(": ")[0] if part.kind == GROUP else part.kind
        kinds.setdefault(name, []).append(part)
    compared = list(measures(predictions))
    if refused is not None and known is not None:
        compared.append(("faces without a result", refused.astype(float), known))
    found = [
        difference
        for kind, parts in kinds.items()
        for measure, values, used in compared
        if (difference := _compare(predictions, kind, parts, measure, values, used))
    ]
    adjusted = holm([difference.p for difference in found])
    return tuple(
        replace(difference, p_adjusted=value)
        for difference, value in zip(found, adjusted, strict=True)
    )


def find_slices_of_sets(predictions: Predictions) -> Iterator[Slice]:
    """Yield the photos of each dataset."""
    yield from (part for part in find_slices(predictions) if part.kind == DATASET)


def measures(predictions: Predictions) -> Iterator[tuple[str, Floats, Chosen]]:
    """Yield what is compared: its name, N values, and which of the N photos have a value."""
    passed = predictions.age >= CHALLENGE
    below = (predictions.label_low >= LEGAL - 5) & (predictions.label_high < LEGAL)
    exact = predictions.is_exact
    yield "mean absolute error, years", np.abs(predictions.error), exact
    yield "true ages outside the 90 % interval", (~predictions.inside).astype(float), exact
    yield f"13 to 17 let through, challenge age {LEGAL}", _at(predictions, LEGAL), below
    yield f"13 to 17 let through, challenge age {CHALLENGE}", passed.astype(float), below
    adults = predictions.label_low >= LEGAL
    yield f"adults referred at challenge age {CHALLENGE}", (~passed).astype(float), adults


def _at(predictions: Predictions, challenge: int) -> Floats:
    return np.asarray((predictions.age >= challenge).astype(float))


def _compare(
    predictions: Predictions,
    kind: str,
    parts: list[Slice],
    measure: str,
    values: Floats,
    known: Chosen,
) -> Difference | None:
    own = [replace(part, chosen=part.chosen & known) for part in parts]
    large = [part for part in own if is_large(part)]
    if len(large) < 2:
        return None
    group = np.full(len(predictions), -1)
    for number, part in enumerate(large):
        group[part.chosen] = number
    used = group >= 0
    gap, p = largest_gap(values[used], group[used], _strata(predictions, kind)[used])
    means = [float(values[part.chosen].mean()) for part in large]
    low, high = int(np.argmin(means)), int(np.argmax(means))
    ends = bootstrap_gap(values[large[low].chosen], values[large[high].chosen])
    return Difference(
        kind,
        measure,
        _short(large[low]),
        means[low],
        int(large[low].chosen.sum()),
        _short(large[high]),
        means[high],
        int(large[high].chosen.sum()),
        gap,
        *ends,
        means[high] / means[low] if means[low] else None,
        p,
        p,
        tuple(_short(part) for part in own if not is_large(part)),
    )


def _strata(predictions: Predictions, kind: str) -> np.ndarray:
    """Return a number for each age band and dataset; for datasets, for each age band alone."""
    middle = (predictions.label_low + predictions.label_high) / 2
    band = (middle // 5).astype(int)
    names = {name: number for number, name in enumerate(dict.fromkeys(predictions.dataset))}
    numbers = np.array([names[name] for name in predictions.dataset])
    return np.asarray(band if kind == DATASET else band + 1000 * numbers)


def _short(part: Slice) -> str:
    return part.name.partition(": ")[2] if part.kind == GROUP else part.name
