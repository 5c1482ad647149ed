"""Accuracy: evaluates a model on a split of a prepared dataset, from crops or from raw photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from halnet.datasets.prepared_dataset import OnProgress, PreparedDataset, Record, no_progress
from halnet.errors import ImageError
from halnet.evaluation.metrics import Evaluation, evaluate
from halnet.evaluation.predictions import Predictions, to_predictions
from halnet.predictor import Predictor
from halnet.results import Face, Outputs
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import RuntimeOptions, RuntimeSpec


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate, and on which photos."""

    data: Path  # prepared dataset
    model: Path | None = None  # None: the bundled model
    split: str = "test"
    photos: Path | None = None  # folder of the dataset, to start from raw photos and detect faces
    limit: int = 0  # number of photos, spread evenly over the split; 0: all of them
    flip: bool = False  # average each crop with its mirror image, which takes twice the time
    options: RuntimeOptions = RuntimeOptions()
    detector: Path | None = None  # local YuNet file; only `photos` needs it


@dataclass(frozen=True, eq=False)
class ModelReport:
    """The result of an evaluation."""

    evaluation: Evaluation
    predictions: Predictions
    missed: int  # number of photos without a detected face, which no metric includes
    spec: RuntimeSpec
    dataset: str
    split_sha256: str


def evaluate_model(config: EvaluateConfig, on_progress: OnProgress = no_progress) -> ModelReport:
    """Evaluate a model on a split, from prepared crops or from the raw photos.

    `on_progress` is called with the number of finished photos and of all photos. Raises
    DatasetError if the dataset cannot be used, and what `open_model` and `run_photos` raise.
    """
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
    """Return the outputs for the largest face of each raw photo, and the photos without a face.

    `source` is the folder of the dataset. The outputs are in the order of `records` and leave out
    the photos without a face. Raises ImageError if no photo has a face or one cannot be read.
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
        raise ImageError(
            f"{source}: expected photos of faces, found no face in any of {len(records)} photos"
        )
    outputs = Outputs(
        np.array([face.age for face in faces], np.float32),
        np.array([face.stddev for face in faces], np.float32),
        np.stack([face.probabilities for face in faces]),
    )
    return outputs, missed
