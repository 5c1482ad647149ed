"""Robustness: what degradations of crops change in predicted ages and their intervals."""

from dataclasses import asdict, dataclass
from typing import Any
from zlib import crc32

import numpy as np

from halnet.ages import Floats
from halnet.datasets.prepared_dataset import BATCH, OnProgress, no_progress
from halnet.datasets.record import Record
from halnet.errors import ConfigError
from halnet.evaluation.accuracy import (
    EvaluateConfig,
    OpenedModel,
    describe_run,
    open_for_evaluation,
    run_values,
)
from halnet.evaluation.degradations import DEGRADATIONS, STRENGTHS
from halnet.evaluation.metrics import without_nan
from halnet.evaluation.predictions import Predictions, to_predictions
from halnet.evaluation.rates import Rate
from halnet.evaluation.unseen import UnseenPhotos, list_empty
from halnet.faces.alignment import inner_crop
from halnet.photos.images import Image
from halnet.results import Outputs, join_outputs
from halnet.runtimes.base import RuntimeSpec

SEED = 0  # of the degradations
UNCHANGED = ("none", "none")  # name and strength of crops without a degradation

Variant = tuple[str, str]  # name and strength of a degradation


@dataclass(frozen=True)
class Effect:
    """Errors and intervals under one degradation, and the shifts of the ages that it causes.

    A shift is the absolute difference of the predicted ages of a photo, with the degradation and
    without it.
    """

    degradation: str  # a name in `DEGRADATIONS`, or "none"
    strength: str  # a name in `STRENGTHS`, or "none"
    count: int  # number of photos
    # MAE of the photos with exact ages, in years. If there are none, it is the mean distance to the
    # range.
    error: float
    bias: float  # mean signed error of the same photos, years
    coverage: Rate  # of the 90 % intervals, for all photos, those with ranges too
    shift_mean: float  # years
    shift_p95: float  # 95th percentile, years

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return dict(without_nan({**asdict(self), "coverage": self.coverage.to_dict()}))


@dataclass(frozen=True, eq=False)
class RobustnessReport:
    """The effects of all degradations on the predictions of a model."""

    effects: tuple[Effect, ...]  # without a degradation first, for the photos of all datasets
    by_set: dict[str, tuple[Effect, ...]]  # the same for each dataset
    photos: tuple[UnseenPhotos, ...]
    spec: RuntimeSpec
    flip: bool
    empty: tuple[UnseenPhotos, ...] = ()  # the datasets without photos

    @property
    def error_name(self) -> str:
        """What the error of the effects is."""
        ranges = all(not record.is_exact for part in self.photos for record in part.records)
        return "distance to the range" if ranges else "MAE"

    @property
    def title(self) -> str:
        """The model, its runtime and the photos, as the title of a table."""
        return describe_run(self.spec, self.flip, self.photos)

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {
            **run_values(self.spec, self.flip),
            "photos": [str(part) for part in self.photos],
            "robustness": [effect.to_dict() for effect in self.effects],
            "sets": {
                name: [effect.to_dict() for effect in effects]
                for name, effects in self.by_set.items()
            },
            **list_empty(self.empty),
        }


def measure_robustness(
    config: EvaluateConfig, on_progress: OnProgress = no_progress
) -> RobustnessReport:
    """Measure the effects of each degradation at each strength on prepared crops.

    The random numbers of a degradation depend on the photo alone, so each strength and each model
    gets the same ones. `on_progress` is called with the number of finished crops and of all crops.
    Raises ConfigError if raw photos are named, and what `open_for_evaluation` raises.
    """
    if config.photos:
        raise ConfigError(
            "robustness: expected prepared crops, found a folder of raw photos; leave out --photos"
        )
    with open_for_evaluation(config) as opened:
        outputs = _run_variants(opened, on_progress)
        spec, records = opened.spec, opened.records
    calibration = spec.metadata.calibration
    predictions = {
        variant: to_predictions(found, records, calibration) for variant, found in outputs.items()
    }
    names = np.array([record.dataset for record in records])
    by_set = {
        part.name: _compare({v: p.select(names == part.name) for v, p in predictions.items()})
        for part in opened.photos
    }
    effects = _compare(predictions)
    return RobustnessReport(effects, by_set, opened.photos, spec, config.flip, opened.empty)


def degrade(crop: Image, record: Record, variant: Variant) -> Image:
    """Return a prepared crop with a degradation, or the same crop for `UNCHANGED`."""
    if variant == UNCHANGED:
        return crop
    name, strength = variant
    seed = (SEED, crc32(name.encode()), crc32(record.source.encode(errors="surrogateescape")))
    return DEGRADATIONS[name](crop, STRENGTHS[strength], np.random.default_rng(seed))


def _run_variants(opened: OpenedModel, on_progress: OnProgress) -> dict[Variant, Outputs]:
    """Return the outputs for all photos, without and with each degradation."""
    variants = [UNCHANGED, *((name, strength) for name in DEGRADATIONS for strength in STRENGTHS)]
    records = opened.records
    parts: dict[Variant, list[Outputs]] = {variant: [] for variant in variants}
    done, total = 0, len(records) * len(variants)
    for start in range(0, len(records), BATCH):
        batch = records[start : start + BATCH]
        crops = [opened.data.crop(record) for record in batch]
        for variant in variants:
            changed = [
                inner_crop(degrade(crop, record, variant))
                for crop, record in zip(crops, batch, strict=True)
            ]
            parts[variant].append(opened.predictor.predict_crops(np.stack(changed)))
            done += len(batch)
            on_progress(done, total)
    return {variant: join_outputs(found) for variant, found in parts.items()}


def _compare(predictions: dict[Variant, Predictions]) -> tuple[Effect, ...]:
    ages = predictions[UNCHANGED].age
    return tuple(_effect(variant, found, ages) for variant, found in predictions.items())


def _effect(variant: Variant, predictions: Predictions, unchanged: Floats) -> Effect:
    exact = predictions.is_exact
    error = predictions.error[exact if exact.any() else slice(None)]
    shift = np.abs(predictions.age - unchanged)
    return Effect(
        degradation=variant[0],
        strength=variant[1],
        count=len(predictions),
        error=float(np.abs(error).mean()),
        bias=float(error.mean()),
        coverage=Rate(int(predictions.inside.sum()), len(predictions)),
        shift_mean=float(shift.mean()),
        shift_p95=float(np.percentile(shift, 95)),
    )
