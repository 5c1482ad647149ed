"""Accuracy: a model on a split of a prepared dataset, from crops or from the raw photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from halnet.datasets.prepared import PreparedDataset, Record
from halnet.errors import ImageError
from halnet.metrics import Evaluation, evaluate
from halnet.predictor import BATCH, Predictor, bundled_model
from halnet.results import Face, Outputs, join_outputs
from halnet.runtimes import Runtime, RuntimeSpec, open_runtime

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class EvaluateConfig:
    """What to measure, on what."""

    data: Path  # prepared dataset
    model: Path | None = None  # None: the bundled one
    split: str = "test"
    photos: Path | None = None  # the dataset's own folder: go from raw photos, through detection
    limit: int | None = None  # so many photos, spread evenly over the split
    runtime: str = "auto"
    device: str = "auto"
    detector: Path | None = None  # local YuNet file, with `photos`


@dataclass(frozen=True, eq=False)
class ModelReport:
    """What was measured."""

    evaluation: Evaluation
    outputs: Outputs
    labels: list[int]  # years, in the order of the outputs
    missed: int  # photos without a detected face, in none of the figures
    spec: RuntimeSpec
    dataset: str
    split_sha256: str


def evaluate_model(config: EvaluateConfig, on_progress: OnProgress) -> ModelReport:
    """Measure a model on a split, from prepared crops or from the raw photos."""
    data = PreparedDataset(config.data)
    records = data.select(config.split)
    if config.limit is not None:
        records = records[:: max(1, len(records) // config.limit)][: config.limit]
    missed: list[Record] = []
    model = config.model or bundled_model(config.runtime, config.device)
    with open_runtime(model, config.runtime, config.device) as runtime:
        if config.photos is None:
            outputs = run_split(runtime, data, records, on_progress)
        else:
            predictor = Predictor(runtime, detector=config.detector)
            outputs, missed = run_photos(predictor, config.photos, records, on_progress)
            records = tuple(record for record in records if record not in missed)
        return ModelReport(
            evaluation=score(runtime, outputs, records),
            outputs=outputs,
            labels=[record.age for record in records],
            missed=len(missed),
            spec=runtime.spec,
            dataset=data.dataset,
            split_sha256=data.split_sha256,
        )


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


def run_split(
    runtime: Runtime,
    data: PreparedDataset,
    records: Sequence[Record],
    on_progress: OnProgress = no_progress,
) -> Outputs:
    """Return the outputs of a runtime for the prepared crops of `records`, in their order."""
    parts = []
    for start in range(0, len(records), BATCH):
        parts.append(runtime.run(data.inner_crops(records[start : start + BATCH])))
        on_progress(min(start + BATCH, len(records)), len(records))
    return join_outputs(parts)


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


def score(runtime: Runtime, outputs: Outputs, records: Sequence[Record]) -> Evaluation:
    """Compare outputs with the labels of `records`, by the model's own calibration."""
    return evaluate(
        outputs,
        [record.age for record in records],
        [record.sex for record in records],
        runtime.spec.metadata.calibration,
    )
