"""Differences between groups: the farthest apart, beyond chance, without groups of few photos."""

from collections.abc import Callable

import numpy as np
import pytest

from halnet.audit.difference_section import difference_section
from halnet.audit.differences import find_differences
from halnet.evaluation.predictions import Predictions

MakePredictions = Callable[..., Predictions]


def test_a_group_with_larger_errors(make_predictions: MakePredictions) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(20, 60, 303).tolist()
    group = ("a",) * 100 + ("b",) * 100 + ("c",) * 100 + ("d",) * 3
    size = np.repeat([1.0, 1.1, 4.0, 50.0], [100, 100, 100, 3])
    ages = np.array(labels) + size * rng.normal(0, 1, 303)
    sex = ["female", "male"] * 151 + ["male"]
    found = {
        (row.groups, row.measure): row
        for row in find_differences(
            make_predictions(labels, ages.tolist(), groups={"camera": group}, sex=sex)
        )
    }
    row = found["camera", "mean absolute error, years"]
    assert row.is_shown
    assert row.highest == "c"
    assert row.lowest in "ab"
    assert row.too_few == ("d",), "three photos are no group"
    assert row.gap == pytest.approx(row.highest_value - row.lowest_value)
    assert row.gap_low < row.gap < row.gap_high
    assert row.ratio is not None
    assert 2 < row.ratio < 5
    assert not found["sex", "mean absolute error, years"].is_shown
    assert not [key for key in found if "13 to 17" in key[1]], "there are no minors"
    assert row.p < row.p_adjusted


def test_faces_without_a_result(make_predictions: MakePredictions) -> None:
    """40 % of one sex are refused, 5 % of the other; photos that are not known do not count."""
    sex = ["female"] * 100 + ["male"] * 100
    predictions = make_predictions([30] * 200, [31.0] * 200, sex=sex)
    refused = np.array([True] * 40 + [False] * 60 + [True] * 5 + [False] * 95)
    known = np.ones(200, bool)
    known[[199, 198]] = False
    found = {row.measure: row for row in find_differences(predictions, refused, known)}
    row = found["faces without a result"]
    assert (row.lowest, row.highest, row.highest_value) == ("male", "female", 0.4)
    assert (row.lowest_value, row.lowest_photos) == (pytest.approx(5 / 98), 98)
    assert row.is_shown
    names = {row.measure for row in find_differences(predictions)}
    assert "faces without a result" not in names


def test_one_group_is_not_compared(make_predictions: MakePredictions) -> None:
    assert find_differences(make_predictions([30] * 40, [31.0] * 40, sex=["male"] * 40)) == ()


def test_groups_that_are_left_out_are_named_together(make_predictions: MakePredictions) -> None:
    group = ("a",) * 20 + ("b",) * 20 + ("c", "d")
    predictions = make_predictions([30] * 42, [31.0] * 42, groups={"camera": group})
    text = difference_section(find_differences(predictions)).text
    assert text[0] == "No difference is more than chance."
    assert text[-1] == (
        "By camera, left out because of too few photos: c and d, in mean absolute error, years; "
        "true ages outside the 90 % interval; adults referred at challenge age 25."
    )
    assert len(text) == 4
