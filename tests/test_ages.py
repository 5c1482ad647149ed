import json

import numpy as np
import pytest

from halnet.ages import AgeCalibration, mean_and_stddev
from halnet.errors import ConfigError


def test_the_mean_and_the_standard_deviation_of_a_distribution() -> None:
    probabilities = np.zeros((2, 101), np.float32)
    probabilities[0, 30] = 1
    probabilities[1, [20, 40]] = 0.25, 0.75
    age, stddev = mean_and_stddev(probabilities)
    np.testing.assert_allclose(age, [30, 35], atol=1e-5)
    np.testing.assert_allclose(stddev, [0, np.sqrt(0.25 * 15**2 + 0.75 * 5**2)], atol=1e-4)


# Ages and standard deviations, and the 90 % intervals that version 0.1.0 of halnet gave for them
# with the calibration of its model. Intervals of models in use must not change.
OLD_INTERVALS = [
    (3.25, 2.5, 1.5967664992500001, 4.90323350075),
    (17.5, 4.75, 11.224423440532084, 23.198720108527887),
    (42.125, 6.5, 34.23361311346986, 51.58515901509817),
    (78.0, 8.25, 63.619719860293806, 86.597050331925),
]
OLD = AgeCalibration(
    0.8244,
    (*(0.5,) * 89, 1.349303),
    (0.4901, 1.2758, 0.8042, 0.9077, 1.114, 1.0603, 1.3289, 0.7723),
)


@pytest.mark.parametrize(("age", "stddev", "low", "high"), OLD_INTERVALS)
def test_intervals_of_old_models_stay_the_same_to_the_last_bit(
    age: float, stddev: float, low: float, high: float
) -> None:
    found = OLD.interval(np.float32(age), np.float32(stddev), 0.9)
    assert (float(found[0]), float(found[1])) == (low, high)


def test_the_scale_of_errors_depends_on_the_deviation_and_the_predicted_age() -> None:
    calibration = AgeCalibration(1.0, (1.0,) * 99, (), (0.5, 0.25, -1.0, 2.0))
    scale = calibration.error_scale([[50.0, 75.0], [25.0, 5.0]], [[4.0, 4.0], [9.0, 1.0]])
    expected = [
        [2.0, 2 * np.exp(0.125 - 0.25 + 0.25)],
        [3 * np.exp(-0.125 - 0.25 - 0.25), np.exp(-0.225 - 0.81 - 1.458)],
    ]
    np.testing.assert_allclose(scale, expected, rtol=1e-12)
    low, high = calibration.interval(50.0, 4.0, 0.9)
    assert (float(low), float(high)) == pytest.approx((48, 52))
    # Ages below 5 and above 90 years have the scale of 5 and of 90 years.
    ends = calibration.error_scale([0.0, 5.0, 90.0, 100.0], [1.0] * 4)
    assert (ends[0], ends[2]) == (ends[1], ends[3])
    assert calibration.error_scale(50.0, 0.0) == pytest.approx(np.sqrt(1e-3))


def test_ten_age_factors_reach_the_oldest() -> None:
    """Eight factors end at 75 years, and are those of calibrations of old models."""
    ten = AgeCalibration(1.0, (1.0,), (*(1.0,) * 8, 2.0, 4.0))
    assert ten.factor([75, 80, 85, 90, 95, 100]) == pytest.approx([1, 1.5, 2, 3, 4, 4])
    eight = AgeCalibration(1.0, (1.0,), (*(1.0,) * 6, 2.0, 4.0))
    assert eight.factor([55, 60, 65, 75, 85, 100]) == pytest.approx([1, 1.5, 2, 4, 4, 4])


@pytest.mark.parametrize(
    ("factors", "scale", "message"),
    [
        ((1.0,) * 9, (), "age_factors: expected 0 or 8 or 10 finite numbers"),
        ((1.0,) * 7 + (float("nan"),), (), "age_factors: expected 0 or 8 or 10 finite numbers"),
        ((), (1.0,) * 3, "scale: expected 0 or 4 finite numbers"),
    ],
)
def test_a_calibration_with_a_wrong_number_of_values_is_refused(
    factors: tuple[float, ...], scale: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AgeCalibration(1.0, (1.0,), factors, scale)


@pytest.mark.parametrize(
    ("calibration", "kind"),
    [
        (OLD, "scaled stddev"),
        (AgeCalibration(1.0, (1.0,), (1.5,) * 10, (0.9, 0.0, 0.1, 0.0)), "scaled by age"),
    ],
)
def test_a_calibration_is_the_same_after_writing_and_reading_it(
    calibration: AgeCalibration, kind: str
) -> None:
    values = json.loads(json.dumps(calibration.to_dict()))
    assert values["kind"] == kind
    assert AgeCalibration.from_dict(values) == calibration


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_score_at_both_ends_is_the_quantile(level: float) -> None:
    calibration = AgeCalibration(1.0, (2.0,) * 99, (0.5, 1.5, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0))
    age, stddev = np.array([4.0, 18.0, 50.03, 97.0]), np.array([1.0, 4.0, 3.0, 6.0])
    low, high = calibration.interval(age, stddev, level)
    for end, limit in ((low, 0), (high, 100)):
        score = np.abs(end - age) / (stddev * calibration.factor(end))
        np.testing.assert_allclose(score[end != limit], 2.0, rtol=2e-3)
    assert high[3] == 100
    one, other = (float(value) for value in calibration.interval(50.03, 3.0, level))
    assert (one, other) == pytest.approx((float(low[2]), float(high[2])))
    narrow = calibration.interval(50.03, 1e-6, level)  # narrower than a step of the grid
    assert narrow[0] <= 50.03 <= narrow[1]
    assert narrow[1] - narrow[0] < 0.1


def test_the_probability_of_an_age_or_more() -> None:
    probabilities = np.zeros((1, 101))
    probabilities[0, [10, 17, 18, 60]] = 0.1, 0.2, 0.3, 0.4
    plain = AgeCalibration(1.0, ())
    assert plain.probability_at_least(probabilities, 18)[0] == pytest.approx(0.7, abs=1e-6)
    assert plain.probability_at_least(probabilities, 0)[0] == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="age 101: expected 0 to 100"):
        plain.probability_at_least(probabilities, 101)


@pytest.mark.parametrize("level", [0.0, 1e-300, 1.0, -0.5, 0.96])
def test_levels_without_calibration_are_refused(level: float) -> None:
    calibration = AgeCalibration(1.0, tuple(float(i) for i in range(95)))
    with pytest.raises(ConfigError, match=r"from 0\.01 to 0\.95"):
        calibration.interval(30, 4, level)


def test_a_level_between_two_stored_ones_gives_the_wider_interval() -> None:
    calibration = AgeCalibration(1.0, tuple(float(i) for i in range(1, 100)))
    assert calibration.interval(50, 1, 0.101)[1] == 50 + 11
    assert calibration.interval(50, 1, 0.29)[1] == 50 + 29  # 0.29 * 100 is 28.999999999999996


def test_intervals_stay_within_the_ages_of_the_model() -> None:
    calibration = AgeCalibration(1.0, tuple(float(i) for i in range(1, 100)))
    low, high = calibration.interval(np.array([5.0, 95.0]), np.array([1.0, 1.0]), 0.2)
    assert low.tolist() == [0, 75]
    assert high.tolist() == [25, 100]
