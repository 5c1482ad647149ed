"""Accuracy: a model on a split of a prepared dataset, from crops or from the raw photos."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from halnet.datasets.prepared import PreparedDataset, Record
from halnet.errors import ImageError
from halnet.metrics import Evaluation, evaluate
from halnet.predictor import BATCH, Predictor
from halnet.results import Face, Outputs
from halnet.runtimes import Runtime

OnProgress = Callable[[int, int], None]


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
    return Outputs.concatenate(parts)


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
