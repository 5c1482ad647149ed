import numpy as np
import pytest

from halnet.evaluation.rates import Rate, exact_interval


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (0, 20, 0.0, 0.168433),
        (20, 20, 0.831567, 1.0),
        (18, 20, 0.683017, 0.987651),
        (1, 2, 0.012579, 0.987421),
        (517, 575, 0.871557, 0.922512),
    ],
)
def test_the_exact_interval_of_a_share(hits: int, count: int, low: float, high: float) -> None:
    """Golden values of the quantiles of beta distributions, computed with scipy."""
    assert exact_interval(hits, count) == pytest.approx((low, high), abs=1e-6)


def test_the_interval_is_that_of_scipy_for_many_photos() -> None:
    stats = pytest.importorskip("scipy.stats")
    hits, count = 13_900, 15_508
    expected = (
        stats.beta.ppf(0.025, hits, count - hits + 1),
        stats.beta.ppf(0.975, hits + 1, count - hits),
    )
    assert exact_interval(hits, count) == pytest.approx(expected, abs=1e-9)


def test_another_level_gives_another_interval() -> None:
    wide, narrow = exact_interval(50, 100, 0.99), exact_interval(50, 100, 0.5)
    assert wide[0] < exact_interval(50, 100)[0] < narrow[0] < 0.5 < narrow[1] < wide[1]


def test_a_rate_of_too_few_photos_is_not_stated() -> None:
    few, enough = Rate(18, 19), Rate(18, 20)
    assert (few.is_stated, enough.is_stated) == (False, True)
    assert (few.stated, enough.stated) == (None, 0.9)
    assert few.to_dict() == {"hits": 18, "count": 19, "share": None, "interval": None}
    assert enough.to_dict()["share"] == 0.9
    assert enough.to_dict()["interval"] == pytest.approx((0.683017, 0.987651), abs=1e-6)


def test_without_photos_nothing_is_known() -> None:
    assert np.isnan(Rate(0, 0).share)
    assert Rate(0, 0).interval == (0.0, 1.0)
