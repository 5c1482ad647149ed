"""Accuracy: a model on a split of a prepared dataset, from crops or from the raw photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from halnet.datasets.prepared_dataset import (
    OnProgress,
    PreparedDataset,
    Record,
    no_progress,
)
from halnet.errors import ImageError
from halnet.evaluation.metrics import Evaluation, evaluate
from halnet.evaluation.predictions import Predictions, to_predictions
from halnet.predictor import Predictor
from halnet.results import Face, Outputs
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions, RuntimeSpec


@dataclass(frozen=True)
class EvaluateConfig:
    """What to measure, on what."""

    data: Path  # prepared dataset
    model: Path | None = None  # None: the bundled one
    split: str = "test"
    photos: Path | None = None  # the dataset's own folder: go from raw photos, through detection
    limit: int = 0  # so many photos, spread evenly over the split; 0: all
    flip: bool = False  # average each crop with its mirror image, at twice the cost
    options: RuntimeOptions = RuntimeOptions()
    detector: Path | None = None  # local YuNet file, with `photos`


@dataclass(frozen=True, eq=False)
class ModelReport:
    """What was measured."""

    evaluation: Evaluation
    predictions: Predictions
    missed: int  # photos without a detected face, in none of the figures
    spec: RuntimeSpec
    dataset: str
    split_sha256: str


def evaluate_model(config: EvaluateConfig, on_progress: OnProgress = no_progress) -> ModelReport:
    """Measure a model on a split, from prepared crops or from the raw photos."""
    data = PreparedDataset(config.data)
    records = data.select(config.split, config.limit)
    missed: list[Record] = []
    with open_model(config.model, config.options) as runtime:
        predictor = Predictor(runtime, detector=config.detector, flip=config.flip)
        if config.photos is None:
            outputs: Outputs = data.outputs(predictor.predict_crops, records, on_progress)
        else:
            outputs, missed = run_photos(predictor, config.photos, records, on_progress)
            records = tuple(record for record in records if record not in missed)
        predictions = to_predictions(outputs, records, runtime.spec.metadata.calibration)
        return ModelReport(
            evaluation=evaluate(predictions),
            predictions=predictions,
            missed=len(missed),
            spec=runtime.spec,
            dataset=data.dataset,
            split_sha256=data.split_sha256,
        )


def run_photos(
    predictor: Predictor,
    source: Path,
    records: Sequence[Record],
    on_progress: OnProgress = no_progress,
) -> tuple[Outputs, list[Record]]:
    """Return outputs for the largest face of each raw photo, and the photos without a face.

    `source` is the dataset's folder. Outputs are in the order of `records` less those without.
    """
    faces: list[Face] = []
    missed = []
    for done, record in enumerate(records, 1):
        found = predictor(source / record.source)
        if found:
            faces.append(found[0])
        else:
            missed.append(record)
        on_progress(done, len(records))
    if not faces:
        raise ImageError(f"{source}: no face found in any of {len(records)} photos")
    outputs = Outputs(
        np.array([face.age for face in faces], np.float32),
        np.array([face.stddev for face in faces], np.float32),
        np.stack([face.probabilities for face in faces]),
    )
    return outputs, missed
