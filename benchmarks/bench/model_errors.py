"""Errors of a model on prepared datasets, to stand beside its times."""

from dataclasses import dataclass
from pathlib import Path

from halnet.evaluation.accuracy import EvaluateConfig, evaluate_model
from halnet.evaluation.metrics import Evaluation
from halnet.runtimes.base import RuntimeOptions


@dataclass(frozen=True)
class DataConfig:
    """The photos on which errors are measured."""

    data: tuple[Path, ...] = ()  # prepared datasets; empty: errors are not measured
    split: str = "test"  # of the datasets that a model was trained on
    limit: int = 1000  # photos of each dataset, spread evenly; 0: all of them


@dataclass(frozen=True)
class ModelErrors:
    """The mean error of a model on some photos, and how often its 90 % interval holds."""

    photos: str  # the dataset and its split, or "all datasets"
    count: int  # number of photos
    kind: str  # "MAE", or for labels that are ranges of ages "distance"
    error: float  # years
    coverage: float  # share of true ages inside the 90 % interval, 0 to 1


def measure_errors(
    model: Path, options: RuntimeOptions, config: DataConfig
) -> tuple[ModelErrors, ...]:
    """Return the errors on all photos and, with several datasets, on those of each.

    Photos with exact ages come before photos with ranges. Raises what `evaluate_model` raises.
    """
    found = evaluate_model(
        EvaluateConfig(config.data, model, split=config.split, limit=config.limit, options=options)
    )
    parts = [_from_evaluation(str(part.photos), part.evaluation) for part in found.sets.values()]
    if len(parts) > 1:
        parts.insert(0, _from_evaluation("all datasets", found.evaluation))
    return tuple(errors for part in parts for errors in part)


def _from_evaluation(photos: str, evaluation: Evaluation) -> list[ModelErrors]:
    """Return the errors of the photos with exact ages and of those with ranges, if there are."""
    exact, ranges = evaluation.overall, evaluation.ranges
    found = [ModelErrors(photos, exact.count, "MAE", exact.error, exact.coverage)]
    if ranges is not None:
        score = ranges.overall
        found.append(ModelErrors(photos, score.count, "distance", score.error, score.coverage))
    return [errors for errors in found if errors.count]
