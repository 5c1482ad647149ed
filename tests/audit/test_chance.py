"""Tests of chance: they agree with SciPy, and differ where a wrong one would."""

import numpy as np
import pytest

from halnet.audit.chance import (
    bootstrap_gap,
    fisher,
    holm,
    largest_gap,
    mcnemar,
    shuffle_test,
    sign_flip,
)

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (1, 9), (12, 2), (0, 6), (300, 350)])
def test_mcnemar_is_the_exact_sign_test(first: int, second: int) -> None:
    total = first + second
    expected = stats.binomtest(first, total).pvalue if total else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "counts", [(3, 20, 9, 25), (0, 20, 6, 20), (5, 50, 5, 50), (0, 30, 0, 40), (40, 614, 17, 614)]
)
def test_fisher_agrees_with_scipy(counts: tuple[int, int, int, int]) -> None:
    hits, count, other, other_count = counts
    table = [[hits, count - hits], [other, other_count - other]]
    assert fisher(*counts) == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6)


def test_sign_flip_agrees_with_all_signs() -> None:
    values = np.array([1.0, 2.0, 0.5, 3.0, -0.25, 1.5, 2.5, -1.0])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 8)).reshape(8, -1)
    exact = (np.abs(signs.T @ values) >= abs(values.sum()) - 1e-12).mean()
    assert sign_flip(values) == pytest.approx(exact, abs=0.006)
    assert sign_flip(-values) == pytest.approx(exact, abs=0.006), "the test has two sides"
    assert sign_flip(np.zeros(30)) == 1.0


def test_shuffle_test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, 40), rng.normal(0.5, 1, 60)
    expected = stats.ttest_ind(first, second).pvalue
    assert shuffle_test(first, second) == pytest.approx(expected, abs=0.01)
    assert shuffle_test(first, first + 5) < 0.001


def test_holm_corrects_for_the_number_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_interval_of_a_gap() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 2, 400), rng.normal(1, 2, 300)
    low, high = bootstrap_gap(first, second)
    gap = second.mean() - first.mean()
    width = 1.96 * np.sqrt(first.var() / 400 + second.var() / 300)
    assert (low, high) == pytest.approx((gap - width, gap + width), abs=0.03)


def test_a_gap_that_the_strata_explain_is_chance() -> None:
    """Group 1 has older people with larger errors; inside an age band, the groups are alike."""
    rng = np.random.default_rng(0)
    band = np.repeat([0, 1], 200)
    group = np.where(rng.random(400) < np.where(band, 0.8, 0.2), 1, 0)
    values = rng.normal(0, 1, 400) + 3 * band
    gap, p = largest_gap(values, group, band)
    assert gap > 1
    assert p > 0.05
    assert largest_gap(values, group, np.zeros(400, int))[1] < 0.001, "without strata"
    assert largest_gap(values + 1.0 * group, group, band)[1] < 0.001, "a difference of the groups"


def test_the_strata_do_not_hide_a_gap() -> None:
    """Group 1 is worse in each age band, but has more people of the band with small errors."""
    rng = np.random.default_rng(1)
    band = np.repeat([0, 1], 300)
    group = np.where(rng.random(600) < np.where(band, 0.2, 0.8), 1, 0)
    values = rng.normal(0, 1, 600) + 1.2 * band + 0.7 * group
    gap, p = largest_gap(values, group, band)
    assert gap < 0.2, "the raw gap is small"
    assert p < 0.001
