"""The calibration of ages: its values on photos whose errors are known."""

import logging
from fractions import Fraction

import numpy as np
import pytest

from halnet.age_calibration import MIN_PHOTOS, conformal_quantiles, fit_age_calibration
from halnet.ages import AGES, AgeCalibration, mean_and_stddev


def gaussians(centres: np.ndarray, sigma: float | np.ndarray) -> np.ndarray:
    sigmas = np.broadcast_to(sigma, np.shape(centres))[:, None]
    weights = np.exp(-((AGES - np.asarray(centres)[:, None]) ** 2) / (2 * sigmas**2))
    return weights / weights.sum(axis=1, keepdims=True)


def coverage(
    calibration: AgeCalibration, probabilities: np.ndarray, labels: np.ndarray, level: float = 0.9
) -> np.ndarray:
    """Return whether each label is inside its interval."""
    low, high = calibration.interval(*mean_and_stddev(probabilities), level)
    return np.asarray((low <= labels) & (labels <= high))


def test_the_quantiles_have_the_textbook_rank() -> None:
    """With nine scores, the 90 % quantile is the ceil(10 * 0.9) = 9th one, the highest."""
    quantiles = conformal_quantiles([7, 2, 9, 1, 3, 8, 4, 6, 5])
    assert len(quantiles) == 90
    assert (quantiles[89], quantiles[49], quantiles[9], quantiles[10]) == (9, 5, 1, 2)
    assert len(conformal_quantiles(range(8))) == 88  # 90 % of 9 is more than 8


@pytest.mark.parametrize("count", [9, 57, 99, 100, 250])
def test_the_quantiles_are_those_of_exact_arithmetic(count: int) -> None:
    scores = np.random.default_rng(count).exponential(size=count).round(4)
    ranks = [-(-(count + 1) * Fraction(percent, 100) // 1) for percent in range(1, 100)]
    expected = tuple(np.sort(scores)[int(rank) - 1] for rank in ranks if rank <= count)
    assert conformal_quantiles(scores) == pytest.approx(expected, abs=1e-9)


def test_the_quantiles_are_those_of_crepes() -> None:
    crepes = pytest.importorskip("crepes")
    rng = np.random.default_rng(4)
    centres, sigmas = rng.uniform(20, 70, 500), rng.uniform(2, 8, 500)
    labels = centres + rng.normal(0, 1.5 * sigmas)
    age, stddev = (np.asarray(v, np.float64) for v in mean_and_stddev(gaussians(centres, sigmas)))
    quantiles = conformal_quantiles(np.abs(labels - age)[:401] / stddev[:401])
    theirs = crepes.ConformalRegressor().fit((labels - age)[:401], sigmas=stddev[:401])
    for level in (0.5, 0.81, 0.9, 0.95):
        expected = theirs.predict_int(age[401:], sigmas=stddev[401:], confidence=level)
        ours = AgeCalibration(1.0, quantiles).interval(age[401:], stddev[401:], level)
        np.testing.assert_allclose(np.stack(ours, 1), np.clip(expected, 0, 100), atol=2e-5)


def test_parts_of_a_photo_count_as_much_as_their_weights() -> None:
    whole = conformal_quantiles([3, 1, 2, 4, 5, 6, 7, 8, 9])
    parts = conformal_quantiles(
        [9, 3, 3, 1, 2, 4, 5, 6, 7, 8, 3], [1, 0.25, 0.5, 1, 1, 1, 1, 1, 1, 1, 0.25]
    )
    assert parts == whole
    heavy = conformal_quantiles([1, 2, 3], [1, 7, 1])
    assert (heavy[9], heavy[10], heavy[79], heavy[80]) == (1, 2, 2, 3)


def test_photos_without_differences_have_the_textbook_interval() -> None:
    """The scale and the factors have no effect if all deviations and predicted ages are equal."""
    probabilities = gaussians(np.full(9, 50), 4.0)
    calibration = fit_age_calibration(probabilities, 50 + np.arange(1, 10))  # within one decade
    assert calibration.age_factors == (1.0,) * 10
    assert len(calibration.quantiles) == 90
    low, high = calibration.interval(50.0, 4.0, 0.9)
    assert (float(low), float(high)) == pytest.approx((41, 59), abs=0.01)
    low, high = calibration.interval(50.0, 4.0, 0.5)
    assert (float(low), float(high)) == pytest.approx((45, 55), abs=0.01)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_intervals_have_their_coverage_on_new_ages(level: float) -> None:
    """Errors are twice as large as the predicted deviation, so the intervals must be wider."""
    rng = np.random.default_rng(1)
    centres = rng.uniform(30, 70, 4000)
    labels = centres + rng.normal(0, 6, 4000)
    probabilities = gaussians(centres, 3.0)
    calibration = fit_age_calibration(probabilities[:2000], labels[:2000])
    inside = coverage(calibration, probabilities[2000:], labels[2000:], level)
    assert inside.mean() == pytest.approx(level, abs=0.025)


def test_intervals_have_their_coverage_in_every_decade() -> None:
    """Errors at true ages 10 to 19 and 90 to 99 are three times as large as at all others.

    Neither the predicted standard deviation nor the predicted age alone shows this.
    """
    rng = np.random.default_rng(3)
    labels = np.rint(rng.uniform(0, 100, 15000))
    large = ((labels >= 10) & (labels < 20)) | (labels >= 90)
    centres = np.clip(labels + rng.normal(0, np.where(large, 9, 3)), 0, 100)
    probabilities = gaussians(centres, 3.0)
    calibration = fit_age_calibration(probabilities[:7500], labels[:7500])
    assert set(np.argsort(calibration.age_factors)[-2:].tolist()) == {1, 9}
    truth, large = labels[7500:], large[7500:]
    inside = coverage(calibration, probabilities[7500:], truth)
    assert inside.mean() == pytest.approx(0.9, abs=0.015)
    for decade in range(10):
        assert 0.85 < inside[np.minimum(truth // 10, 9) == decade].mean() < 0.96  # without: 0.57
    # Predictions that are far from these ages have intervals of the usual width.
    age, stddev = mean_and_stddev(probabilities[7500:])
    low, high = calibration.interval(age, stddev, 0.9)
    width = high - low
    assert width[(age > 45) & (age < 70)].mean() < 10.5  # the narrowest possible one: 9.9
    assert width[(age > 20) & (age < 24)].mean() > 14.5


@pytest.mark.parametrize(("power", "slope"), [(0.0, 0.0), (1.0, 0.0), (2.0, 0.0), (0.5, 1.5)])
def test_the_scale_of_the_errors_is_found(power: float, slope: float) -> None:
    """Errors grow with a power of the predicted deviation, and with the predicted age."""
    rng = np.random.default_rng(6)
    centres, sigmas = rng.uniform(25, 75, 6000), rng.uniform(2, 6, 6000)
    expected = sigmas**power * np.exp(slope * (centres / 50 - 1))
    labels = centres + rng.laplace(0, expected / expected.mean())
    calibration = fit_age_calibration(gaussians(centres, sigmas), labels)
    assert calibration.scale[0] == pytest.approx(power, abs=0.1)
    found = calibration.error_scale(centres, sigmas)
    ratio = np.log(found / expected)
    assert np.std(ratio) < 0.06
    assert calibration.kind == "scaled by age"


def test_widths_follow_the_errors() -> None:
    """Half of the photos have errors of 2 years and half of 8, and the deviations tell which.

    A deviation in proportion would have the ratio 4. This one has 1.5, as of label distributions.
    """
    rng = np.random.default_rng(8)
    unclear = np.arange(4000) % 2 == 1
    centres = rng.uniform(30, 70, 4000)
    labels = centres + rng.normal(0, np.where(unclear, 8, 2))
    probabilities = gaussians(centres, np.where(unclear, 4.5, 3.0))
    calibration = fit_age_calibration(probabilities[:2000], labels[:2000])
    inside = coverage(calibration, probabilities[2000:], labels[2000:])
    for part in (unclear[2000:], ~unclear[2000:]):
        assert inside[part].mean() == pytest.approx(0.9, abs=0.03)  # with the plain ratio: 0.8


def test_ranges_are_spread_over_the_ages_that_the_model_expects() -> None:
    """Labels are decades. Intervals must nevertheless contain the true ages as often as stated.

    Distances to the range would give a coverage of 0.68, and those to its middle 0.94.
    """
    rng = np.random.default_rng(7)
    centres = rng.uniform(25, 75, 6000)
    truth = np.rint(np.clip(centres + rng.normal(0, 5, 6000), 0, 100))
    probabilities = gaussians(centres, 5.0)
    low = truth[:3000] // 10 * 10
    calibration = fit_age_calibration(probabilities[:3000], low, np.minimum(low + 9, 100))
    assert calibration.temperature == pytest.approx(1.0, abs=0.1)
    inside = coverage(calibration, probabilities[3000:], truth[3000:])
    assert inside.mean() == pytest.approx(0.9, abs=0.012)


def test_a_range_counts_as_one_photo() -> None:
    probabilities = gaussians(np.full(9, 50), 4.0)
    calibration = fit_age_calibration(probabilities, np.full(9, 40), np.full(9, 69))
    assert len(calibration.quantiles) == 90  # with one photo for each of 30 ages: 99


def test_exact_ages_and_ranges_of_one_age_are_the_same() -> None:
    rng = np.random.default_rng(9)
    centres = rng.uniform(10, 70, 200)
    labels = np.rint(centres + rng.normal(0, 4, 200))
    probabilities = gaussians(centres, 4.0)
    expected = fit_age_calibration(probabilities, labels)
    assert fit_age_calibration(probabilities, labels, labels) == expected


def test_temperature_widens_an_overconfident_distribution() -> None:
    rng = np.random.default_rng(2)
    centres = rng.uniform(30, 70, 3000)
    labels = np.rint(centres + rng.normal(0, 6, 3000))
    calibration = fit_age_calibration(gaussians(centres, 3.0), labels)
    assert calibration.temperature == pytest.approx(4.0, rel=0.1)  # variance grows with it: 36 / 9
    calibrated = fit_age_calibration(gaussians(centres, 6.0), labels)
    assert calibrated.temperature == pytest.approx(1.0, rel=0.1)


def test_labels_that_say_nothing_do_not_move_the_temperature() -> None:
    rng = np.random.default_rng(2)
    centres = rng.uniform(30, 70, 400)
    labels = np.rint(centres + rng.normal(0, 6, 400))
    exact = fit_age_calibration(gaussians(centres, 3.0), labels)
    probabilities = np.concatenate([gaussians(centres, 3.0), gaussians(np.full(300, 90), 1.0)])
    low = np.concatenate([labels, np.zeros(300)])
    high = np.concatenate([labels, np.full(300, 100)])
    assert fit_age_calibration(probabilities, low, high).temperature == exact.temperature


def test_few_photos_keep_the_calibration_of_the_base_model(
    caplog: pytest.LogCaptureFixture,
) -> None:
    base = AgeCalibration(1.0, (2.0,) * 99)
    centres = np.linspace(20, 70, MIN_PHOTOS)
    probabilities, labels = gaussians(centres, 4.0), np.rint(centres + 1)
    with caplog.at_level(logging.WARNING, "halnet"):
        assert fit_age_calibration(probabilities, labels, base=base).quantiles != base.quantiles
        assert not caplog.records
        few = fit_age_calibration(probabilities[1:], labels[1:], base=base)
    assert few is base
    assert "99 photos are too few to fit a calibration" in caplog.text
    assert fit_age_calibration(probabilities[1:], labels[1:]) != base  # there is no other one


def test_the_order_of_the_photos_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet(np.full(101, 0.1), 300)
    low = rng.integers(0, 91, 300)
    high = low + rng.choice([0, 9], 300)
    order = rng.permutation(300)
    first = fit_age_calibration(probabilities, low, high)
    second = fit_age_calibration(probabilities[order], low[order], high[order])
    np.testing.assert_allclose(second.quantiles, first.quantiles, rtol=1e-4)
    np.testing.assert_allclose(second.age_factors, first.age_factors, atol=2e-4)
    np.testing.assert_allclose(second.scale, first.scale, atol=2e-6)
    assert second.temperature == first.temperature


def test_extreme_photos_give_finite_values() -> None:
    """All errors are 0, distributions have a single age, and an age is above 100 years."""
    probabilities = np.zeros((20, 101))
    probabilities[:, 100] = 1
    calibration = fit_age_calibration(probabilities, np.full(20, 116))
    low, high = calibration.interval(100.0, 0.0, 0.9)
    assert (float(low), float(high)) == pytest.approx((100, 100), abs=1e-3)
