"""The report of a run: its best checkpoint is evaluated on the validation and the test split."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from halnet.ages import AgeCalibration
from halnet.datasets.prepared_dataset import PreparedDataset
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
from halnet.training.run_folder import BEST_FILE, REPORT_FILE
from halnet.training.training_log import LOG_FILE, read_log


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished run."""

    checkpoint: Path
    val: Evaluation
    test: Evaluation
    log: tuple[dict[str, str], ...]  # lines of training_log.csv


def write_report(out: Path, data: PreparedDataset, device: torch.device) -> TrainResult:
    """Evaluate the best checkpoint on validation and test, and write both into the run folder.

    The checkpoint gets both MAEs into its metadata.
    """
    path = out / BEST_FILE
    best = load_checkpoint(path)
    model = best.model.to(device)
    predictions = {
        split: _predict(model, data, split, best.metadata.calibration) for split in ("val", "test")
    }
    evaluations = {split: evaluate(part) for split, part in predictions.items()}
    mae = {split: round(result.overall.mae, 4) for split, result in evaluations.items()}
    save_checkpoint(path, model, best.recipe, replace(best.metadata, reference_mae=mae))
    write_predictions(out / PREDICTIONS_FILE, predictions)
    report = {
        "dataset": data.dataset,
        "split_sha256": data.split_sha256,
        **{split: result.to_dict() for split, result in evaluations.items()},
    }
    write_text(out / REPORT_FILE, json.dumps(report, indent=1) + "\n")
    return TrainResult(path, evaluations["val"], evaluations["test"], read_log(out / LOG_FILE).rows)


def _predict(
    model: AgeNet, data: PreparedDataset, split: str, calibration: AgeCalibration
) -> Predictions:
    device = next(model.parameters()).device

    def run(crops: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            values = model(torch.from_numpy(crops).to(device))
        return Outputs(*(value.cpu().numpy() for value in values))

    records = data.select(split)
    return to_predictions(data.outputs(run, records), records, calibration)
