"""Age checks of a report against hand counts."""

from collections.abc import Callable

import numpy as np
import pytest

from halnet.audit.age_checks import (
    BANDS,
    LEGAL_AGES,
    check_legal_age,
    find_minor_errors,
    measure_child_safety,
)
from halnet.checks.risk import choose_challenge
from halnet.evaluation.predictions import Predictions

MakePredictions = Callable[..., Predictions]


def test_both_sides_by_challenge_age(make_predictions: MakePredictions) -> None:
    """25 people of 17, of whom one looks 18, two look 25; 20 of 30, of whom five look 24."""
    labels = [17] * 25 + [30] * 20 + [(10, 19)] * 5 + [(0, 2)] * 5
    ages = [15.0] * 22 + [18.0, 25.0, 25.0] + [24.0] * 5 + [33.0] * 15 + [40.0] * 5 + [26.0] * 5
    found = check_legal_age(make_predictions(labels, ages), 18, ())
    assert (found.below, found.of_age) == (30, 20), "the range 10 to 19 is on both sides"
    by_age = {row.challenge: row for row in found.challenges}
    assert list(by_age) == list(range(18, 34))
    assert by_age[18].let_through.hits == 8
    assert by_age[18].next_below.share == pytest.approx(3 / 25)
    assert by_age[25].next_below.share == pytest.approx(2 / 25)
    assert by_age[25].referred.share == pytest.approx(5 / 20)
    assert by_age[24].referred.hits == 0
    assert by_age[33].let_through.hits == 0
    assert by_age[33].youngest is None
    assert by_age[25].youngest == 0
    assert by_age[25].years_below.value is None, "seven are too few for a mean"
    assert by_age[25].even is None, "there are no photos of 8 to 16"


def test_single_years_and_bands(make_predictions: MakePredictions) -> None:
    labels = [16] * 20 + [17] * 20 + [18] * 20 + [19] * 3
    ages = (
        [20.0] * 5 + [10.0] * 15 + [22.0] * 8 + [10.0] * 12 + [17.0] * 4 + [21.0] * 16 + [50.0] * 3
    )
    found = check_legal_age(make_predictions(labels, ages), 18, ())
    assert found.shown_challenges == (18, 21, 23, 25, 28)
    years = {row.low: row for row in found.years}
    assert [rate.hits for rate in years[16].wrong] == [5, 0, 0, 0, 0]
    assert [rate.hits for rate in years[17].wrong] == [8, 8, 0, 0, 0]
    assert [rate.hits for rate in years[18].wrong] == [4, 4, 20, 20, 20]
    assert (years[17].side, years[18].side) == ("below", "of age")
    assert years[19].wrong[0].share is None
    bands = {(row.low, row.high): row for row in found.bands}
    assert set(bands) == {(16, 17), (18, 20)}
    assert [rate.hits for rate in bands[16, 17].wrong] == [13, 8, 0, 0, 0]
    assert bands[16, 17].wrong[0].count == 40


def test_every_band_is_on_one_side() -> None:
    for legal in LEGAL_AGES:
        assert all(high < legal or low >= legal for low, high in BANDS)
    years = [year for low, high in BANDS for year in range(low, high + 1)]
    assert years == list(range(101))


def test_groups_count_those_just_below(make_predictions: MakePredictions) -> None:
    labels = [17] * 20 + [12] * 20 + [40] * 20
    ages = [25.0] * 10 + [10.0] * 10 + [30.0] * 20 + [24.0] * 20
    sex = ["female", "male"] * 30
    found = check_legal_age(make_predictions(labels, ages, sex=sex), 18, ())
    rows = {(row.name, row.challenge): row for row in found.groups}
    assert set(rows) == {(name, age) for name in ("female", "male") for age in (18, 25)}
    assert rows["female", 25].let_through.count == 10, "those of 12 are not just below"
    assert rows["female", 25].let_through.share is None
    assert rows["male", 25].referred.hits == 10


def test_the_challenge_age_is_chosen_on_calibration_photos(
    make_predictions: MakePredictions,
) -> None:
    """The calibration photos decide, and the photos of the report say what came of it."""
    rng = np.random.default_rng(0)
    known = tuple(tuple(sorted(rng.normal(0, 3, 60).tolist())) for _ in range(18))
    labels = [age for age in range(8, 18) for _ in range(30)] + [40] * 30
    good = [float(age) for age in labels]
    found = check_legal_age(make_predictions(labels, good), 18, known)
    row = next(row for row in found.risks if row.risk == 0.05)
    bands = {(band.low, band.high): (band.side, band.wrong) for band in row.bands}
    assert list(bands) == [(8, 9), (10, 12), (13, 15), (16, 17), (40, 49)]
    side, (rate,) = bands[40, 49]
    assert (side, rate.hits, rate.count) == ("of age", 0, 30)
    assert bands[16, 17][1][0].count == 60
    chosen = choose_challenge(known, 18, 0.05)
    assert (row.challenge, row.bound) == (chosen.challenge, chosen.bound)
    assert row.calibration_photos == 600
    assert row.let_through is not None
    assert (row.let_through.hits, row.let_through.count, row.holds) == (0, 300, True)
    bad = [age + 12.0 for age in labels]
    row = next(
        row
        for row in check_legal_age(make_predictions(labels, bad), 18, known).risks
        if row.risk == 0.05
    )
    assert row.challenge == chosen.challenge
    assert row.holds is False


def test_too_few_calibration_photos_and_none(make_predictions: MakePredictions) -> None:
    predictions = make_predictions([17] * 20 + [30] * 20, [17.0] * 20 + [30.0] * 20)
    known = tuple((0.0, 0.0, 0.0) for _ in range(18))
    problems = [row.problem for row in check_legal_age(predictions, 18, known).risks]
    assert all(
        "the 30 calibration photos can vouch for 9.5 % at best" in text for text in problems[1:]
    )
    for row in check_legal_age(predictions, 18, ()).risks:
        assert row.challenge is None
        assert "does not state errors of calibration photos" in row.problem
    assert check_legal_age(predictions, 21, known).risks[0].challenge is None


def test_errors_of_minors(make_predictions: MakePredictions) -> None:
    errors = find_minor_errors(
        make_predictions([17, 17, 3, 18, (3, 9)], [20.0, 16.0, 3.5, 9.0, 9.0])
    )
    assert len(errors) == 18
    assert errors[17] == (-1.0, 3.0)
    assert errors[3] == (0.5,)
    assert errors[9] == ()


def test_child_safety(make_predictions: MakePredictions) -> None:
    found = measure_child_safety(
        make_predictions(
            [12] * 20 + [16, 30], [12.9] * 8 + [13.0] * 6 + [16.9] * 5 + [17.0] + [15, 15]
        )
    )
    assert [(row.age, row.inside.hits) for row in found] == [(12, 11), (16, 1)]
