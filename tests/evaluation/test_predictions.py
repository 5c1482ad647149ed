from pathlib import Path

import numpy as np
import pytest

from halnet.ages import AgeCalibration
from halnet.datasets.prepared_dataset import Record
from halnet.errors import ConfigError
from halnet.evaluation.predictions import (
    Predictions,
    read_predictions,
    to_predictions,
    write_predictions,
)
from halnet.results import Outputs

RECORDS = (
    Record("a", 10, "female", "val"),
    Record("b,c", 25, "male", "val"),
    Record("d", 30, "", "val"),
)


@pytest.fixture
def predictions() -> Predictions:
    probabilities = np.zeros((3, 101), np.float32)
    probabilities[[0, 1, 2], [12, 18, 44]] = 0.75
    probabilities[:, 17] = 0.25
    outputs = Outputs(np.float32([12, 20, 44.5]), np.float32([1, 1, 2]), probabilities)
    return to_predictions(outputs, RECORDS, AgeCalibration(1.0, (3.0,) * 90))


def test_errors_intervals_and_probabilities_of_outputs(predictions: Predictions) -> None:
    assert predictions.source == ("a", "b,c", "d")
    assert predictions.sex == ("female", "male", "")
    assert predictions.error.tolist() == [2, -5, 14.5]
    assert predictions.low.tolist() == [9, 17, 38.5]
    assert predictions.high.tolist() == [15, 23, 50.5]
    assert predictions.inside.tolist() == [True, False, False]
    np.testing.assert_allclose(predictions.adult, [0, 0.75, 0.75], atol=1e-6)


def test_a_file_is_read_as_it_was_written(predictions: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, {"val": predictions, "test": predictions})
    assert path.read_text().splitlines()[0] == "split,source,sex,label,age,stddev,low,high,adult"
    assert path.read_text().splitlines()[2].startswith('val,"b,c",male,25,20,1,17,23,')
    splits = read_predictions(path)
    assert list(splits) == ["val", "test"]
    found = splits["test"]
    assert found.source == ("a", "b,c", "d")
    assert found.sex == ("female", "male", "")
    np.testing.assert_allclose(found.age, predictions.age)
    np.testing.assert_allclose(found.adult, predictions.adult, atol=1e-5)


def test_a_damaged_file_is_refused(predictions: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, {"val": predictions})
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ConfigError, match=r"predictions\.csv: the file is damaged"):
        read_predictions(path)


def test_predictions_without_photos_are_refused() -> None:
    empty = Outputs(*(np.zeros((0, 101), np.float32),) * 3)
    with pytest.raises(ConfigError, match="at least one photo, found none"):
        to_predictions(empty, (), AgeCalibration(1.0, (1.0,) * 90))
