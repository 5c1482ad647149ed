from pathlib import Path

import numpy as np
import pytest

from halnet.ages import AgeCalibration
from halnet.datasets.record import Record
from halnet.errors import ConfigError
from halnet.evaluation.predictions import (
    Predictions,
    read_predictions,
    to_predictions,
    write_predictions,
)
from halnet.results import Outputs

RECORDS = (
    Record("a", 10, 10, "female", split="val", dataset="first"),
    Record("b,c", 25, 25, "male", split="val", groups={"race": "Asian"}, dataset="first"),
    Record("d", 30, 39, split="val", groups={"camera": "x"}, dataset="second"),
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
    assert predictions.error.tolist() == [2, -5, 5.5]  # 44.5 is 5.5 years above the range
    assert predictions.low.tolist() == [9, 17, 38.5]
    assert predictions.high.tolist() == [15, 23, 50.5]
    assert predictions.inside.tolist() == [True, False, True], "the last interval meets the range"
    np.testing.assert_allclose(predictions.adult, [0, 0.75, 0.75], atol=1e-6)


def test_datasets_groups_and_labels(predictions: Predictions) -> None:
    assert predictions.dataset == ("first", "first", "second")
    assert predictions.groups == {"camera": ("", "", "x"), "race": ("", "Asian", "")}
    assert predictions.is_exact.tolist() == [True, True, False]
    np.testing.assert_array_equal(predictions.label, [10, 25, np.nan])


@pytest.mark.parametrize(
    ("age", "error"), [(29.5, -0.5), (30.0, 0), (34.0, 0), (39.0, 0), (41.0, 2)]
)
def test_the_error_of_a_range_is_the_distance_to_it(age: float, error: float) -> None:
    outputs = Outputs(np.float32([age]), np.float32([1]), np.full((1, 101), 1 / 101, np.float32))
    found = to_predictions(outputs, RECORDS[2:], AgeCalibration(1.0, (1.0,) * 90))
    assert found.error.tolist() == [error]


def test_chosen_photos_keep_their_values(predictions: Predictions) -> None:
    part = predictions.select(np.array([False, True, True]))
    assert (part.source, part.dataset) == (("b,c", "d"), ("first", "second"))
    assert part.groups == {"camera": ("", "x"), "race": ("Asian", "")}
    assert part.label_high.tolist() == [25, 39]
    assert part.high.tolist() == [23, 50.5]


def test_a_file_is_read_as_it_was_written(predictions: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, {"val": predictions, "test": predictions})
    lines = path.read_text().splitlines()
    columns = "split,source,sex,label,age,stddev,low,high,adult,set,label_low,label_high"
    assert lines[0] == columns
    assert lines[2].startswith('val,"b,c",male,25,20,1,17,23,')
    assert lines[2].endswith(",first,25,25")
    assert lines[3].startswith("val,d,,,44.5,2,"), "a range has no exact label"
    assert lines[3].endswith(",second,30,39")
    splits = read_predictions(path)
    assert list(splits) == ["val", "test"]
    found = splits["test"]
    assert found.source == ("a", "b,c", "d")
    assert found.sex == ("female", "male", "")
    assert found.dataset == ("first", "first", "second")
    assert found.label_low.tolist() == [10, 25, 30]
    assert found.label_high.tolist() == [10, 25, 39]
    np.testing.assert_allclose(found.age, predictions.age)
    np.testing.assert_allclose(found.adult, predictions.adult, atol=1e-5)


def test_the_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(
        "split,source,sex,label,age,stddev,low,high,adult\ntest,a,male,25,20,1,17,23,0.75\n"
    )
    found = read_predictions(path)["test"]
    assert (found.label_low.tolist(), found.label_high.tolist()) == ([25], [25])
    assert found.error.tolist() == [-5]
    assert found.dataset == ("",)


def test_a_damaged_file_is_refused(predictions: Predictions, tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, {"val": predictions})
    path.write_text(path.read_text()[:-20])
    with pytest.raises(ConfigError, match=r"predictions\.csv: the file is damaged"):
        read_predictions(path)


def test_predictions_without_photos_are_refused(predictions: Predictions) -> None:
    empty = Outputs(*(np.zeros((0, 101), np.float32),) * 3)
    with pytest.raises(ConfigError, match="at least one photo, found none"):
        to_predictions(empty, (), AgeCalibration(1.0, (1.0,) * 90))
    with pytest.raises(ConfigError, match="at least one photo, found none"):
        predictions.select(np.zeros(3, bool))
