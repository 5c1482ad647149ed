from collections.abc import Callable

import pytest

from halnet.evaluation.age_checks import check_ages, find_minor_errors, measure_reliability
from halnet.evaluation.predictions import Predictions

Make = Callable[..., Predictions]


def test_minors_and_adults_at_challenge_ages(make_predictions: Make) -> None:
    """Minors of 12, 16 and 17 are predicted as 14, 25, 22; adults of 18 and 40 as 24 and 41."""
    result = check_ages(make_predictions([12, 16, 17, 18, 40], [14, 25, 22, 24, 41]))
    table = {c.age: (c.minors_passed.share, c.adults_stopped.share) for c in result}
    assert list(table) == list(range(21, 31))
    assert table[21] == pytest.approx((2 / 3, 0))
    assert table[24] == pytest.approx((1 / 3, 0)), (
        "a predicted age of 24 passes a challenge age of 24"
    )
    assert table[25] == pytest.approx((1 / 3, 1 / 2))
    assert table[26] == pytest.approx((0, 1 / 2))
    assert (result[0].minors_passed.count, result[0].adults_stopped.count) == (3, 2)


def test_shares_of_few_minors_or_adults_are_not_stated(make_predictions: Make) -> None:
    """19 minors are too few for a share of minors, and 20 adults are enough."""
    labels = [16] * 19 + [30] * 20
    values = check_ages(make_predictions(labels, [22] * 39))[0].to_dict()
    assert values == {
        **{"age": 21, "minors": 19, "minors_passed": None},
        **{"adults": 20, "adults_stopped": 0.0},
    }


def test_ranges_that_contain_minors_and_adults_are_left_out(make_predictions: Make) -> None:
    labels = [(3, 9), (10, 19), (10, 17), (18, 25), (70, 100)]
    result = check_ages(make_predictions(labels, [30, 30, 10, 10, 30]))[0]
    assert (result.minors_passed.hits, result.minors_passed.count) == (1, 2)
    assert (result.adults_stopped.hits, result.adults_stopped.count) == (1, 2)


def test_minors_who_are_predicted_to_be_adults(make_predictions: Make) -> None:
    """20 minors: 10 of 12 years, 5 of 13 and 5 of 17. Adults and ranges with adults do not count.

    A predicted age of exactly 18 counts as 18 or more.
    """
    labels = [12] * 10 + [13] * 5 + [17] * 5 + [18, (10, 19), (13, 18)]
    ages = [11] * 9 + [30] + [17.9] * 5 + [18, 24.9, 25, 26, 17] + [40] * 3
    everyone, teenagers = find_minor_errors(make_predictions(labels, ages))
    assert (everyone.low, everyone.high) == (0, 17)
    assert (everyone.as_18.hits, everyone.as_18.count) == (5, 20)
    assert (everyone.as_25.hits, everyone.as_25.count) == (3, 20)
    assert (teenagers.low, teenagers.high) == (13, 17)
    assert (teenagers.as_18.hits, teenagers.as_18.count) == (4, 10)
    assert (teenagers.as_25.hits, teenagers.as_25.count) == (2, 10)
    values = everyone.to_dict()
    assert values["ages"] == "0-17"
    assert values["predicted_18"]["share"] == 0.25
    # The interval of 5 in 20 is 8.66 % to 49.10 %.
    assert values["predicted_18"]["interval"] == pytest.approx((0.086571, 0.491046), abs=1e-6)
    assert teenagers.to_dict()["predicted_25"]["share"] is None, "10 photos are too few"


def test_a_range_inside_13_to_17_counts_as_teenagers(make_predictions: Make) -> None:
    everyone, teenagers = find_minor_errors(make_predictions([(13, 17), (12, 14)], [20, 20]))
    assert (everyone.as_18.count, teenagers.as_18.count) == (2, 1)


def test_predicted_and_observed_shares_of_adults(make_predictions: Make) -> None:
    adult = [0.02, 0.06, 0.05, 0.95, 1.0, 0.5]
    labels = [12, 16, 18, 40, (50, 59), (10, 19)]
    low, high = measure_reliability(make_predictions(labels, [1] * 6, adult=adult))
    assert (low.low, low.high) == (0, 0.1)
    assert low.predicted == pytest.approx(0.13 / 3)
    assert (low.observed.hits, low.observed.count) == (1, 3)
    assert (high.high, high.observed.hits, high.observed.count) == (1.0, 2, 2)
    values = high.to_dict()
    assert (values["count"], values["predicted"]) == (2, pytest.approx(0.975))
    assert values["observed"] is None, "2 photos are too few"


def test_without_known_adults_and_minors_there_is_no_reliability(make_predictions: Make) -> None:
    assert measure_reliability(make_predictions([(10, 19)], [15])) == ()
