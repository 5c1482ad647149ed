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
