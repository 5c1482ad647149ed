from pathlib import Path

import numpy as np
import pytest

from halnet.ages import AgeCalibration
from halnet.errors import ConfigError
from halnet.evaluation.predictions import Predictions, judge, read_predictions, write_predictions
from halnet.results import Outputs


@pytest.fixture
def predictions() -> Predictions:
    probabilities = np.zeros((3, 101), np.float32)
    probabilities[[0, 1, 2], [12, 18, 44]] = 0.75
    probabilities[:, 17] = 0.25
    outputs = Outputs(np.float32([12, 20, 44.5]), np.float32([1, 1, 2]), probabilities)
    calibration = AgeCalibration(1.0, (3.0,) * 90)
    return judge(outputs, [10, 25, 30], ["female", "male", ""], calibration, ["a", "b,c", "d"])


def test_judge(predictions: Predictions) -> None:
    assert predictions.error.tolist() == [2, -5, 14.5]
    assert predictions.low.tolist() == [9, 17, 38.5]
    assert predictions.high.tolist() == [15, 23, 50.5]
    assert predictions.inside.tolist() == [True, False, False]
    np.testing.assert_allclose(predictions.adult, [0, 0.75, 0.75], atol=1e-6)


def test_csv_round_trip(predictions: Predictions, tmp_path: Path) -> None:
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


def test_a_damaged_file(predictions: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, {"val": predictions})
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ConfigError, match="predictions.csv: damaged"):
        read_predictions(path)
    with pytest.raises(ConfigError, match="at least one photo, found none"):
        judge(
            Outputs(*(np.zeros((0, 101), np.float32),) * 3),
            [],
            [],
            AgeCalibration(1.0, (1.0,) * 90),
        )
