"""The report of a run: its best checkpoint is evaluated on the validation and the test split."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from halnet.ages import AgeCalibration
from halnet.artifact import Metadata
from halnet.datasets.collection import DataCollection
from halnet.evaluation.metrics import Evaluation, evaluate
from halnet.evaluation.predictions import (
    PREDICTIONS_FILE,
    Predictions,
    to_predictions,
    write_predictions,
)
from halnet.files import write_text
from halnet.network.checkpoint import load_checkpoint, save_checkpoint
from halnet.network.model import AgeNet
from halnet.results import Outputs
from halnet.training.origin import RunOrigin
from halnet.training.photos import PhotoCounts, join_records, photos_by_set
from halnet.training.run_folder import BEST_FILE, REPORT_FILE
from halnet.training.training_log import LOG_FILE, read_log
from halnet.training.validation import mean_error, reference_mae, score_sets


@dataclass(frozen=True)
class SplitResult:
    """The result of a run on the photos of one split."""

    predictions: Predictions
    evaluation: Evaluation  # of the photos of all datasets together
    sets: dict[str, Evaluation]  # by the name of the dataset
    mean_error: float  # years: the mean over datasets of their MAE or distance to the range


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished run."""

    checkpoint: Path
    val: Evaluation  # of the photos of all datasets together
    test: Evaluation
    log: tuple[dict[str, str], ...]  # lines of training_log.csv
    val_sets: dict[str, Evaluation]  # by the name of the dataset
    test_sets: dict[str, Evaluation]
    keeps_calibration: bool  # whether the calibration is that of the initial weights


def write_report(
    out: Path,
    data: DataCollection,
    counts: Sequence[PhotoCounts],
    origin: RunOrigin,
    device: torch.device,
) -> TrainResult:
    """Evaluate the best checkpoint on validation and test, and write both into the run folder.

    The checkpoint gets the MAE of both into its metadata; see `reference_mae`. `counts` are the
    numbers of photos of each dataset, which the report states.
    """
    path = out / BEST_FILE
    best = load_checkpoint(path)
    model = best.model.to(device)
    results = {
        split: _evaluate(model, data, split, best.metadata.calibration) for split in ("val", "test")
    }
    scores = {split: result.evaluation.overall for split, result in results.items()}
    errors = {split: score.mae if score.count else None for split, score in scores.items()}
    metadata = replace(best.metadata, reference_mae=reference_mae(errors))
    save_checkpoint(path, model, best.recipe, metadata, best.trained_on)
    predictions = {split: result.predictions for split, result in results.items()}
    write_predictions(out / PREDICTIONS_FILE, predictions)
    report = _to_report(metadata, data, counts, origin, results)
    write_text(out / REPORT_FILE, json.dumps(report, indent=1) + "\n")
    val, test = results["val"], results["test"]
    log = read_log(out / LOG_FILE).rows
    keeps = origin.base is not None
    return TrainResult(path, val.evaluation, test.evaluation, log, val.sets, test.sets, keeps)


def _to_report(
    metadata: Metadata,
    data: DataCollection,
    counts: Sequence[PhotoCounts],
    origin: RunOrigin,
    results: dict[str, SplitResult],
) -> dict[str, Any]:
    """Return the values of report.json. Those of each dataset are added if there are several."""
    report: dict[str, Any] = {
        "dataset": metadata.dataset,
        "split_sha256": metadata.split_sha256,
        **(counts[0].to_dict() if len(counts) == 1 else {}),
        **{split: result.evaluation.to_dict() for split, result in results.items()},
    }
    if origin.base:
        report["calibration"] = "kept from the initial weights"
    if len(data.sets) > 1:
        report["mean_error"] = {
            split: round(result.mean_error, 4) for split, result in results.items()
        }
        report["sets"] = {
            name: {
                "split_sha256": part.split_sha256,
                **own.to_dict(),
                **{
                    split: result.sets[name].to_dict()
                    for split, result in results.items()
                    if name in result.sets
                },
            }
            for (name, part), own in zip(data.sets.items(), counts, strict=True)
        }
    return report


def _evaluate(
    model: AgeNet, data: DataCollection, split: str, calibration: AgeCalibration
) -> SplitResult:
    device = next(model.parameters()).device

    def run(crops: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            values = model(torch.from_numpy(crops).to(device))
        return Outputs(*(value.cpu().numpy() for value in values))

    sets = photos_by_set(data, split)
    records = join_records(sets)
    outputs = data.outputs(run, records)
    predictions = to_predictions(outputs, records, calibration)
    evaluation = evaluate(predictions)
    names = np.array(predictions.dataset)
    by_set = {part.name: evaluate(predictions.select(names == part.name)) for part in sets}
    return SplitResult(predictions, evaluation, by_set, mean_error(score_sets(sets, outputs.age)))
