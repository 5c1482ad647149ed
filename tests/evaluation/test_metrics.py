import json
from dataclasses import replace

import numpy as np
import pytest

from halnet.evaluation.metrics import evaluate
from halnet.evaluation.predictions import Predictions


def predictions(
    label: list[float], age: list[float], reach: list[float], adult: float = 1.0
) -> Predictions:
    centre, half = np.array(age, float), np.array(reach, float)
    n = len(label)
    return Predictions(
        source=("",) * n,
        sex=("female", "male", "female", "")[:n] + ("",) * (n - 4),
        label=np.array(label, float),
        age=centre,
        stddev=half,
        low=centre - half,
        high=centre + half,
        adult=np.full(n, adult),
    )


def test_scores_of_all_photos_decades_and_sexes() -> None:
    result = evaluate(predictions([10, 25, 30, 30], [12, 20, 33, 44], [3, 3, 6, 3]))
    assert result.overall.count == 4
    assert result.overall.mae == pytest.approx((2 + 5 + 3 + 14) / 4)
    assert result.overall.bias == pytest.approx((2 - 5 + 3 + 14) / 4)
    assert result.overall.cs3 == 0.5  # 3 years off is within 3 years
    assert result.overall.cs5 == 0.75
    assert result.overall.coverage == 0.5
    assert result.overall.width == pytest.approx((6 + 6 + 12 + 6) / 4)
    assert list(result.by_decade) == ["10-19", "20-29", "30-39"]
    assert result.by_decade["30-39"].mae == pytest.approx(8.5)
    assert list(result.by_sex) == ["female", "male"]
    assert result.by_sex["female"].mae == pytest.approx(2.5)
    assert 2 <= result.mae_interval[0] < result.overall.mae < result.mae_interval[1] <= 14


def test_minors_and_adults_at_challenge_ages() -> None:
    """Minors of 12, 16 and 17 are predicted as 14, 25, 22; adults of 18 and 40 as 24 and 41."""
    result = evaluate(predictions([12, 16, 17, 18, 40], [14, 25, 22, 24, 41], [1] * 5))
    table = {c.age: (c.minors_passed, c.adults_stopped) for c in result.challenges}
    assert list(table) == list(range(21, 31))
    assert table[21] == pytest.approx((2 / 3, 0))
    assert table[24] == pytest.approx((1 / 3, 0)), (
        "a predicted age of 24 passes a challenge age of 24"
    )
    assert table[25] == pytest.approx((1 / 3, 1 / 2))
    assert table[26] == pytest.approx((0, 1 / 2))
    assert (result.challenges[0].minors, result.challenges[0].adults) == (3, 2)


def test_predicted_and_observed_shares_of_adults() -> None:
    predicted = replace(
        predictions([12, 16, 18, 40, 50], [1] * 5, [1] * 5),
        adult=np.array([0.02, 0.06, 0.05, 0.95, 1.0]),
    )
    low, high = evaluate(predicted).reliability
    assert (low.low, low.high, low.count) == (0, 0.1, 3)
    assert low.predicted == pytest.approx(0.13 / 3)
    assert low.observed == pytest.approx(1 / 3)
    assert (high.high, high.count, high.observed) == (1.0, 2, 1.0)


def test_nan_becomes_null_in_json() -> None:
    """Without minors, the share of minors that pass is NaN."""
    result = evaluate(predictions([30, 40, 50, 60], [30, 41, 52, 63], [1] * 4)).to_dict()
    assert result["challenges"][0]["minors_passed"] is None
    assert "NaN" not in json.dumps(result)
    assert result["challenges"][9]["adults_stopped"] == 0.0
