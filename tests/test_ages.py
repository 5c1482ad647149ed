import numpy as np
import pytest

from halnet.ages import AGES, AgeCalibration, fit_age_calibration, mean_and_stddev
from halnet.errors import ConfigError


def gaussians(centres: np.ndarray, sigma: float) -> np.ndarray:
    weights = np.exp(-((AGES - np.asarray(centres)[:, None]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(axis=1, keepdims=True)


def test_the_mean_and_the_standard_deviation_of_a_distribution() -> None:
    probabilities = np.zeros((2, 101), np.float32)
    probabilities[0, 30] = 1
    probabilities[1, [20, 40]] = 0.25, 0.75
    age, stddev = mean_and_stddev(probabilities)
    np.testing.assert_allclose(age, [30, 35], atol=1e-5)
    np.testing.assert_allclose(stddev, [0, np.sqrt(0.25 * 15**2 + 0.75 * 5**2)], atol=1e-4)


def test_conformal_quantile_is_the_textbook_rank() -> None:
    """With nine labels, the 90 % quantile is the ceil(10 * 0.9) = 9th score, the highest one."""
    probabilities = gaussians(np.full(9, 50), 4.0)
    labels = 50 + np.arange(1, 10)  # scores 1/4 ... 9/4 of a deviation of 4 years, one decade
    calibration = fit_age_calibration(probabilities, labels)
    assert calibration.age_factors == (1.0,) * 8
    assert len(calibration.quantiles) == 90
    assert calibration.quantiles[89] == pytest.approx(9 / 4, rel=1e-3)
    assert calibration.quantiles[49] == pytest.approx(5 / 4, rel=1e-3)
    low, high = calibration.interval(50.0, 4.0, 0.9)
    assert (float(low), float(high)) == pytest.approx((41, 59), abs=0.01)


def test_intervals_have_their_coverage_in_every_decade() -> None:
    """Errors at ages 10 to 19 are three times as large as at all others.

    The predicted standard deviation does not show this.
    """
    rng = np.random.default_rng(3)
    labels = np.rint(rng.uniform(0, 79, 12000))
    young = (labels >= 10) & (labels < 20)
    centres = np.clip(labels + rng.normal(0, np.where(young, 9, 3)), 0, 100)
    probabilities = gaussians(centres, 3.0)
    calibration = fit_age_calibration(probabilities[:6000], labels[:6000])
    assert int(np.argmax(calibration.age_factors)) == 1
    age, stddev = mean_and_stddev(probabilities[6000:])
    low, high = calibration.interval(age, stddev, 0.9)
    truth, young = labels[6000:], young[6000:]
    inside = (low <= truth) & (truth <= high)
    assert inside.mean() == pytest.approx(0.9, abs=0.015)
    assert 0.85 < inside[young].mean() < 0.95  # with one factor for all: 0.6
    assert 0.87 < inside[~young].mean() < 0.95
    # Predictions that are far from the teens have intervals of the usual width.
    assert high[age > 60].mean() - low[age > 60].mean() < 16
    assert high[(age > 20) & (age < 24)].mean() - low[(age > 20) & (age < 24)].mean() > 16


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


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_intervals_have_their_coverage_on_new_ages(level: float) -> None:
    """Errors are twice as large as the predicted deviation, so the intervals must be wider."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(30, 70, 4000)
    labels = centres + rng.normal(0, 6, 4000)
    probabilities = gaussians(centres, 3.0)
    calibration = fit_age_calibration(probabilities[:2000], labels[:2000])
    age, stddev = mean_and_stddev(probabilities[2000:])
    low, high = calibration.interval(age, stddev, level)
    inside = ((low <= labels[2000:]) & (labels[2000:] <= high)).mean()
    assert inside == pytest.approx(level, abs=0.025)


def test_temperature_widens_an_overconfident_distribution() -> None:
    rng = np.random.default_rng(2)
    centres = rng.uniform(30, 70, 3000)
    labels = np.rint(centres + rng.normal(0, 6, 3000))
    calibration = fit_age_calibration(gaussians(centres, 3.0), labels)
    assert calibration.temperature == pytest.approx(4.0, rel=0.1)  # variance grows with it: 36 / 9
    calibrated = fit_age_calibration(gaussians(centres, 6.0), labels)
    assert calibrated.temperature == pytest.approx(1.0, rel=0.1)


def test_the_probability_of_an_age_or_more() -> None:
    probabilities = np.zeros((1, 101))
    probabilities[0, [10, 17, 18, 60]] = 0.1, 0.2, 0.3, 0.4
    plain = AgeCalibration(1.0, ())
    assert plain.probability_at_least(probabilities, 18)[0] == pytest.approx(0.7, abs=1e-6)
    assert plain.probability_at_least(probabilities, 0)[0] == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="age 101: expected 0 to 100"):
        plain.probability_at_least(probabilities, 101)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, 0.96])
def test_levels_without_calibration_are_refused(level: float) -> None:
    calibration = AgeCalibration(1.0, tuple(float(i) for i in range(95)))
    with pytest.raises(ConfigError, match=r"at most 0\.95"):
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
