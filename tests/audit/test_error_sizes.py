"""Sizes of errors: how many are large, on which side."""

from collections.abc import Callable

from halnet.audit.error_sizes import measure_error_sizes
from halnet.evaluation.predictions import Predictions

MakePredictions = Callable[..., Predictions]


def test_large_errors_have_a_side(make_predictions: MakePredictions) -> None:
    """Of 20 minors, 3 are taken for 11 years older and 2 for 11 younger; of 25 adults, 4 for 6
    younger, and 5 have a range of which they miss 4 years."""
    labels = [15] * 20 + [40] * 20 + [(20, 29)] * 5
    ages = [26.0] * 3 + [4.0] * 2 + [18.0] * 15 + [34.0] * 4 + [45.0] * 16 + [16.0] * 5
    found = {row.years: row for row in measure_error_sizes(make_predictions(labels, ages))}
    assert tuple(found) == (3, 5, 10, 15, 20)
    everyone = {years: row.everyone.hits for years, row in found.items()}
    # An error of exactly 3 or 5 years is not more than that.
    assert everyone == {3: 5 + 20 + 5, 5: 5 + 4, 10: 5, 15: 0, 20: 0}
    assert {years: row.minors_too_old.hits for years, row in found.items()} == {
        **dict.fromkeys((3, 5, 10), 3),
        **dict.fromkeys((15, 20), 0),
    }
    assert [row.adults_too_young.hits for row in found.values()] == [9, 4, 0, 0, 0]
    assert {row.minors_too_old.count for row in found.values()} == {20}
    assert {row.adults_too_young.count for row in found.values()} == {25}
