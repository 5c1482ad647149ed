"""Rates and means are stated only with enough photos, and none of n is not zero."""

import numpy as np
import pytest

from halnet.audit.figures import StatedMean, StatedRate
from halnet.audit.words import join_words, mean_text, p_text, rate_text
from halnet.evaluation.rates import MIN_PHOTOS


def test_a_rate_has_the_exact_interval() -> None:
    stats = pytest.importorskip("scipy.stats")
    rate = StatedRate.of(7, 61)
    expected = stats.binomtest(7, 61).proportion_ci(0.95, "exact")
    assert (rate.share, rate.low, rate.high) == pytest.approx((7 / 61, *expected))
    assert rate.bound is None
    assert rate_text(rate) == "11.5 % (4.7 to 22.2)"


@pytest.mark.parametrize(
    ("hits", "count"), [(0, 20), (1, 20), (20, 20), (3, 614), (311, 2459), (2458, 2459)]
)
def test_the_interval_is_that_of_clopper_and_pearson(hits: int, count: int) -> None:
    """By the quantiles of the beta distribution, as `proportion_confint(method="beta")` of
    statsmodels computes it."""
    beta = pytest.importorskip("scipy.stats").beta
    low = beta.ppf(0.025, hits, count - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, count - hits) if hits < count else 1.0
    rate = StatedRate.of(hits, count)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=1e-9)


def test_a_mean_has_a_bootstrap_interval() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(1).gamma(1.5, 3.0, 300)
    mean = StatedMean.of(values)
    expected = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=0)
    ends = expected.confidence_interval
    assert (mean.low, mean.high) == pytest.approx((ends.low, ends.high), abs=0.05)
    assert mean.value == pytest.approx(values.mean())


def test_bounds_are_rounded_to_the_safe_side() -> None:
    assert rate_text(StatedRate.of(0, 11488)) == "none of 11,488 (at most 0.027 %)"
    assert rate_text(StatedRate.of(0, 61)) == "none of 61 (at most 5.0 %)", "3 / 61 is 4.92 %"
    assert rate_text(StatedRate.of(61, 61)) == "all of 61 (at least 95.0 %)", "it is 95.08 %"


def test_nothing_seen_gives_the_rule_of_three() -> None:
    none, everyone = StatedRate.of(0, 60), StatedRate.of(60, 60)
    assert (none.share, none.bound) == (0, 0.05)
    assert everyone.bound == pytest.approx(0.95)
    assert rate_text(none) == "none of 60 (at most 5.0 %)"
    assert rate_text(everyone) == "all of 60 (at least 95.0 %)"


def test_too_few_photos_state_nothing() -> None:
    few, enough = StatedRate.of(0, MIN_PHOTOS - 1), StatedRate.of(0, MIN_PHOTOS)
    assert few == StatedRate(0, MIN_PHOTOS - 1, None, None, None, None)
    assert rate_text(few) == "too few"
    assert rate_text(None) == "too few"
    assert enough.share == 0
    mean = StatedMean.of(np.ones(MIN_PHOTOS - 1))
    assert mean == StatedMean(MIN_PHOTOS - 1, None, None, None)
    assert mean_text(mean) == "too few"
    assert mean_text(StatedMean.of(np.ones(MIN_PHOTOS) * 2.5)) == "2.50 (2.50 to 2.50)"


def test_words() -> None:
    assert join_words(["a"]) == "a"
    assert join_words(["a", "b", "c"]) == "a, b and c"
    assert (p_text(0.00001), p_text(0.04)) == ("below 0.001", "0.040")
