import numpy as np
import pytest

from halnet.ages import Calibration
from halnet.metrics import evaluate
from halnet.results import Outputs


def test_figures_by_hand() -> None:
    outputs = Outputs(
        age=np.float32([12, 20, 33, 44]),
        stddev=np.float32([1, 1, 2, 1]),
        probabilities=np.zeros((4, 101), np.float32),
    )
    # 90 % interval: age +- 3 * stddev
    calibration = Calibration(1.0, (3.0,) * 90)
    labels, sexes = [10, 25, 30, 30], ["female", "male", "female", ""]
    result = evaluate(outputs, labels, sexes, calibration)
    assert result.overall.count == 4
    assert result.overall.mae == pytest.approx((2 + 5 + 3 + 14) / 4)
    assert result.overall.bias == pytest.approx((2 - 5 + 3 + 14) / 4)
    assert result.overall.cs5 == 0.75  # 5 years off is within 5 years
    assert result.overall.coverage == 0.5
    assert result.overall.width == pytest.approx((6 + 6 + 12 + 6) / 4)
    assert list(result.by_decade) == ["10-19", "20-29", "30-39"]
    assert result.by_decade["30-39"].mae == pytest.approx(8.5)
    assert list(result.by_sex) == ["female", "male"]
    assert result.by_sex["female"].mae == pytest.approx(2.5)
    assert 2 <= result.mae_interval[0] < result.overall.mae < result.mae_interval[1] <= 14
