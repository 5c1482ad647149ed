import numpy as np
import pytest

from halnet.evaluation.scores import BOOTSTRAP_ROUNDS, RangeScore, Score, bootstrap_mean


def test_the_bootstrap_interval_does_not_depend_on_the_size_of_its_parts() -> None:
    """3,000 errors are drawn in several parts, with the random numbers of a single draw."""
    errors = np.abs(np.random.default_rng(1).normal(0, 6, 3000))
    picks = np.random.default_rng(0).integers(0, 3000, (BOOTSTRAP_ROUNDS, 3000))
    expected = np.percentile(errors[picks].mean(axis=1), [2.5, 97.5])
    assert bootstrap_mean(errors) == tuple(expected)


def test_the_interval_of_a_coverage_is_exact() -> None:
    score = Score(20, 4.0, 0.0, 0.5, 0.5, 0.9, 20.0)
    assert score.coverage_interval == pytest.approx((0.683017, 0.987651), abs=1e-6)
    assert np.isnan(score.error_interval).all(), "no bootstrap was asked for"


def test_a_score_of_ranges_is_compared_by_its_distance() -> None:
    score = RangeScore(20, 0.9, 2.5, -1.0, 0.5, 20.0, (2.0, 3.0))
    assert (score.error, score.error_interval) == (2.5, (2.0, 3.0))
    assert score.inside_interval == pytest.approx((0.683017, 0.987651), abs=1e-6)
    assert score.coverage_interval[0] < 0.5 < score.coverage_interval[1]
