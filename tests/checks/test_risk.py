import math

import pytest

from halnet.checks.risk import (
    LEGAL_AGES,
    MinorErrors,
    choose_challenge,
    count_needed_photos,
    measure_risk,
    upper_bound,
)
from halnet.errors import ConfigError


def make_errors(**by_year: list[float]) -> MinorErrors:
    """Return errors by true age: those given for `y15`, ..., and 20 photos without one elsewhere.

    Children under 8 have errors that would let each of them pass, but they do not count.
    """
    others = [[90.0] if year < 8 else [0.0] * 20 for year in range(18)]
    return tuple(tuple(by_year.get(f"y{year}", others[year])) for year in range(18))


EVEN = make_errors()  # 10 years with 20 photos each


@pytest.mark.parametrize(
    ("hits", "count", "expected"),
    [
        (0, 180, 1 - 0.05 ** (1 / 180)),  # the definition for no hits
        (0, 299, 1 - 0.05 ** (1 / 299)),
        (1, 20, 0.216106),  # tables of Clopper and Pearson, 90 % interval
        (2, 30, 0.195326),
        (5, 50, 0.198833),
        (20, 20, 1.0),
    ],
)
def test_the_bound_is_that_of_clopper_and_pearson(hits: int, count: int, expected: float) -> None:
    assert upper_bound(hits, count) == pytest.approx(expected, abs=2e-6)
    tail = sum(
        math.comb(count, i) * expected**i * (1 - expected) ** (count - i) for i in range(hits + 1)
    )
    assert hits == count or tail == pytest.approx(0.05, abs=1e-4)  # so many hits or fewer


def test_each_year_counts_the_same() -> None:
    """Of 17-year-olds, 1 of 2 passes; of 16-year-olds, 0 of 38."""
    errors = make_errors(y16=[0.0] * 38, y17=[0.0, 9.0])
    risk = measure_risk(errors, 18, 25)
    assert risk.estimate == pytest.approx(0.5 / 10)  # the share of photos is 1 / 200
    assert risk.photos == 8 * 20 + 38 + 2
    # 1 / sum(w^2 / n) with the weights 1 / 10
    assert risk.effective_photos == math.floor(100 / (8 / 20 + 1 / 38 + 1 / 2)) == 107
    assert risk.bound == upper_bound(6, 107)  # 5.35 hits are rounded up


def test_equal_numbers_of_photos_are_all_effective() -> None:
    risk = measure_risk(EVEN, 18, 25)
    assert (risk.photos, risk.effective_photos, risk.estimate) == (200, 200, 0)
    assert risk.bound == pytest.approx(1 - 0.05 ** (1 / 200))
    assert risk.to_dict() == {
        **{"legal": 18, "challenge": 25, "estimate": 0.0, "bound": 0.01487},
        **{"photos": 200, "effective_photos": 200},
    }


@pytest.mark.parametrize(("error", "passes"), [(7.99, 0), (8.0, 1), (8.01, 1)])
def test_who_looks_exactly_as_old_as_the_challenge_age_passes(error: float, passes: int) -> None:
    risk = measure_risk(make_errors(y17=[0.0] * 19 + [error]), 18, 25)
    assert risk.estimate == pytest.approx(passes / 200)


def test_only_years_below_the_legal_age_count() -> None:
    errors = make_errors(y15=[30.0] * 20, y16=[30.0] * 20)
    assert measure_risk(errors, 15, 25).estimate == 0
    assert measure_risk(errors, 16, 25).estimate == pytest.approx(1 / 8)
    assert measure_risk(errors, 18, 25).estimate == pytest.approx(2 / 10)
    assert measure_risk(errors, 9, 9).photos == 20


def test_the_smallest_challenge_age_that_keeps_the_risk_is_chosen() -> None:
    # Two of 200 photos of equal weight pass at 24 years, one at 26, none at 28.
    errors = make_errors(y17=[0.0] * 18 + [7.5, 10.0])
    for max_risk, age, hits in ((0.9, 18, 2), (0.032, 18, 2), (0.03, 25, 1), (0.02, 28, 0)):
        risk = choose_challenge(errors, 18, max_risk)
        assert (risk.challenge, risk.bound) == (age, upper_bound(hits, 200))
        assert risk.bound <= max_risk
        assert age == 18 or measure_risk(errors, 18, age - 1).bound > max_risk
    assert choose_challenge(errors, 16, 0.03).challenge == 16


@pytest.mark.parametrize("max_risk", [0.01, 0.02, 0.05, 0.5])
def test_so_many_photos_are_needed(max_risk: float) -> None:
    needed = count_needed_photos(max_risk)
    assert upper_bound(0, needed) <= max_risk < upper_bound(0, needed - 1)


def test_too_few_photos_name_what_they_can_vouch_for() -> None:
    with pytest.raises(ConfigError) as caught:
        choose_challenge(EVEN, 18, 0.01)
    message = str(caught.value)
    assert "the 200 calibration photos of people aged 8 to 17 can vouch for 0.0149 at best" in (
        message
    )
    assert "0.01 needs about 300 photos, 30 of each age" in message  # 299 are needed
    assert choose_challenge(EVEN, 18, 0.0149).bound <= 0.0149


def test_few_photos_of_one_year_cannot_be_replaced_by_many_of_others() -> None:
    errors = make_errors(y12=[0.0], y13=[0.0] * 1000)
    assert measure_risk(errors, 18, 25).effective_photos == math.floor(100 / (8 / 20 + 1 + 0.001))
    with pytest.raises(ConfigError, match="can vouch for 0.0414 at best"):
        choose_challenge(errors, 18, 0.02)


@pytest.mark.parametrize("max_risk", [0, 1, 2, -0.1, math.nan, math.inf])
def test_a_risk_that_is_no_share(max_risk: float) -> None:
    with pytest.raises(ConfigError, match="expected a share above 0 and below 1, such as 0.02"):
        choose_challenge(EVEN, 18, max_risk)


@pytest.mark.parametrize("legal", [0, 8, 19, 21, 200])
def test_a_legal_age_without_errors(legal: int) -> None:
    with pytest.raises(ConfigError, match=f"legal age {legal}: expected 9 to 18 years for a risk"):
        choose_challenge(EVEN, legal, 0.05)


def test_a_model_without_errors_of_minors() -> None:
    with pytest.raises(ConfigError, match="the model file states no errors of minors"):
        choose_challenge((), 18, 0.05)


def test_years_without_photos_are_named() -> None:
    errors = make_errors(y12=[], y17=[])
    with pytest.raises(ConfigError, match="without photos of people aged 12, 17, so that it can"):
        choose_challenge(errors, 18, 0.5)
    with pytest.raises(ConfigError, match="without photos of people aged 12, so that"):
        measure_risk(errors, 13, 25)
    assert choose_challenge(errors, 12, 0.5).challenge == 12
    assert measure_risk(make_errors(y3=[]), 18, 25).photos == 200  # younger ones do not count


def test_legal_ages_are_those_of_which_errors_are_stated() -> None:
    assert list(LEGAL_AGES) == list(range(9, 19))
