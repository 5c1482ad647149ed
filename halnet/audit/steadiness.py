"""Steadiness of a report: how much ages change if a photo changes.

Repeatability is the spread of the ages of one face over eight small changes that a second photo of
the same moment would have. Robustness is what degradations of the crop do to errors and intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from halnet.ages import Floats
from halnet.audit.figures import StatedMean, StatedRate
from halnet.audit.schema import about
from halnet.datasets.prepared_dataset import BATCH, OnProgress, no_progress
from halnet.datasets.record import Record, spread
from halnet.evaluation.accuracy import OpenedModel
from halnet.evaluation.degradations import DEGRADATIONS
from halnet.evaluation.predictions import Predictions, to_predictions
from halnet.evaluation.rates import MIN_PHOTOS
from halnet.evaluation.robustness import UNCHANGED, Variant, degrade
from halnet.evaluation.small_changes import SMALL_CHANGES
from halnet.faces.alignment import inner_crop
from halnet.photos.images import Image
from halnet.results import join_outputs

PHOTOS = 50  # of each dataset, spread evenly
STRENGTHS_USED = ("middle", "strong")
SMALLER = 0.9  # width of the shrunk crop as a share of its width
_ROUNDS = 2000  # of the bootstrap


def _shrink(crop: Image) -> Image:
    height, width = crop.shape[:2]
    small = cv2.resize(crop, None, fx=SMALLER, fy=SMALLER, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


# Each takes and returns a prepared crop, 256 x 256 x 3 uint8.
CHANGES = {**SMALL_CHANGES, f"shrunk to {SMALLER:.0%} and back": _shrink}


@dataclass(frozen=True)
class ChangeEffect:
    """What one change of the crops does to ages and intervals."""

    change: str
    strength: str = field(metadata=about("Strength of a degradation; empty: a small change."))
    error: StatedMean = field(
        metadata=about("Mean distance between predicted and true age, or range.")
    )
    coverage: StatedRate = field(metadata=about("90 % intervals with the true age inside."))
    shift: StatedMean = field(metadata=about("Mean absolute change of the predicted age."))


@dataclass(frozen=True)
class Repeatability:
    """The standard deviation of the ages of one face over all small changes, in years."""

    photos: int = field(metadata=about("Number of photos.", 0))
    median: float | None = field(metadata=about("Median over photos; null: too few.", 0))
    median_low: float | None = field(metadata=about("Lower end of its 95 % interval.", 0))
    median_high: float | None = field(metadata=about("Upper end of its 95 % interval.", 0))
    p95: float | None = field(metadata=about("95th percentile over photos; null: too few.", 0))
    p95_low: float | None = field(metadata=about("Lower end of its 95 % interval.", 0))
    p95_high: float | None = field(metadata=about("Upper end of its 95 % interval.", 0))


@dataclass(frozen=True)
class Steadiness:
    """How much ages change if photos change."""

    repeatability: Repeatability
    effects: tuple[ChangeEffect, ...]


def choose_photos(opened: OpenedModel, limit: int = PHOTOS) -> tuple[Record, ...]:
    """Return at most `limit` photos of each dataset, spread evenly."""
    return tuple(record for part in opened.photos for record in spread(part.records, limit))


def count_crops(records: Sequence[Record]) -> int:
    """Return how many crops `measure_steadiness` runs."""
    return len(records) * (1 + len(CHANGES) + len(DEGRADATIONS) * len(STRENGTHS_USED))


def measure_steadiness(
    opened: OpenedModel, records: Sequence[Record], on_progress: OnProgress = no_progress
) -> Steadiness:
    """Return the steadiness for some photos, of which the prepared crops are changed.

    `on_progress` is called with the number of finished crops and of all crops.
    """
    variants: list[Variant] = [UNCHANGED, *((name, "") for name in CHANGES)]
    variants += [(name, strength) for strength in STRENGTHS_USED for name in DEGRADATIONS]
    found = {}
    for number, variant in enumerate(variants, 1):
        parts = []
        for start in range(0, len(records), BATCH):
            crops = [
                _change(opened.data.crop(r), r, variant) for r in records[start : start + BATCH]
            ]
            parts.append(opened.predictor.predict_crops(np.stack([inner_crop(c) for c in crops])))
        calibration = opened.spec.metadata.calibration
        found[variant] = to_predictions(join_outputs(parts), records, calibration)
        on_progress(number * len(records), len(variants) * len(records))
    ages = np.stack([found[name, ""].age for name in CHANGES])
    unchanged = found[UNCHANGED].age
    effects = [_effect(variant, part, unchanged) for variant, part in found.items()]
    return Steadiness(describe_spread(ages.std(axis=0, ddof=1)), tuple(effects))


def describe_spread(deviations: Floats) -> Repeatability:
    """Return the repeatability, from the standard deviation of the ages of each of N photos."""
    count = len(deviations)
    if count < MIN_PHOTOS:
        return Repeatability(count, *[None] * 6)
    rng = np.random.default_rng(0)
    picks = deviations[rng.integers(0, count, (_ROUNDS, count))]
    values: list[float | None] = []
    for percentile in (50, 95):
        values.append(float(np.percentile(deviations, percentile)))
        ends = np.percentile(np.percentile(picks, percentile, axis=1), [2.5, 97.5])
        values += [float(ends[0]), float(ends[1])]
    return Repeatability(count, *values)


def _change(crop: Image, record: Record, variant: Variant) -> Image:
    name, strength = variant
    return degrade(crop, record, variant) if strength else CHANGES[name](crop)


def _effect(variant: Variant, predictions: Predictions, unchanged: Floats) -> ChangeEffect:
    name, strength = variant
    return ChangeEffect(
        name,
        "" if variant == UNCHANGED else strength,
        StatedMean.of(np.abs(predictions.error)),
        StatedRate.of(int(predictions.inside.sum()), len(predictions)),
        StatedMean.of(np.abs(predictions.age - unchanged)),
    )
