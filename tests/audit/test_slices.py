"""Slices and accuracy: exact ages and ranges stay apart, and groups of three state nothing."""

from collections.abc import Callable

import pytest

from halnet.audit.accuracy import measure_accuracy
from halnet.audit.slices import find_slices
from halnet.evaluation.predictions import Predictions

MakePredictions = Callable[..., Predictions]


def test_a_decade_and_a_range_of_the_same_name(make_predictions: MakePredictions) -> None:
    predictions = make_predictions([12, 15, (10, 19)], [12, 15, 15])
    found = {(part.kind, part.name): part.chosen.tolist() for part in find_slices(predictions)}
    assert found["band", "10-19"] == [True, True, False]
    assert found["range", "10-19"] == [False, False, True]
    assert found["year", "12"] == [True, False, False]
    assert ("year", "10") not in found


def test_accuracy_of_exact_ages_and_ranges(make_predictions: MakePredictions) -> None:
    labels = [30] * 20 + [(20, 29)] * 20
    ages = [33.0] * 10 + [36.0] * 10 + [25.0] * 5 + [31.0] * 15
    found = {
        (row.labels, row.kind, row.name): row
        for row in measure_accuracy(make_predictions(labels, ages, 5.0))
    }
    exact = found["exact", "all", "all photos"]
    assert (exact.error.value, exact.bias.value) == (4.5, 4.5)
    assert (exact.close.share, exact.coverage.share) == (0.5, 0.5)
    assert exact.width.value == 10
    ranges = found["range", "all", "all photos"]
    assert ranges.error.value == pytest.approx(1.5), "31 is two years above the range"
    assert (ranges.close.share, ranges.coverage.share) == (0.25, 1.0)
    assert ("exact", "range", "20-29") not in found


def test_groups_of_three_photos_state_nothing(make_predictions: MakePredictions) -> None:
    groups = {"camera": ("a",) * 20 + ("b",) * 3}
    predictions = make_predictions([30] * 23, [31.0] * 23, groups=groups)
    found = {row.name: row for row in measure_accuracy(predictions) if row.kind == "group"}
    assert found["camera: a"].error.value == 1
    few = found["camera: b"]
    assert few.error.count == few.coverage.count == 3
    assert (few.error.value, few.bias.value, few.width.value) == (None, None, None)
    assert (few.coverage.share, few.close.low) == (None, None)
