"""Differences between groups: the farthest apart, beyond chance, without groups of few photos."""

from collections.abc import Callable

import numpy as np
import pytest

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


def test_one_group_is_not_compared(make_predictions: MakePredictions) -> None:
    assert find_differences(make_predictions([30] * 40, [31.0] * 40, sex=["male"] * 40)) == ()
