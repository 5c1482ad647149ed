"""The sections of a report about age checks."""

import math
from collections.abc import Iterator, Sequence

from halnet.ages import LEGAL_AGE
from halnet.audit.age_checks import (
    NEAR,
    ChildSafety,
    LegalAge,
    RiskResult,
    YearResult,
)
from halnet.audit.words import mean_text, percent, rate_text
from halnet.checks.risk import YOUNGEST
from halnet.evaluation.rates import TOO_FEW
from halnet.reporting.sections import Cell, Figure, FigureKind, Section, Series, Table

CHALLENGE = 25  # years, of NIST's figure
FIGURE_BELOW, FIGURE_ABOVE = 10, 17  # years around the legal age that a figure shows


def check_section(checks: LegalAge) -> Section:
    """Return the section about one legal age."""
    legal = checks.legal
    text = (
        f"The check lets people through whose estimated age is at least the challenge age, and "
        f"refers all others to another proof of age. There are {checks.below:,} photos of people "
        f"under {legal} and {checks.of_age:,} photos of people aged {legal} or more. Read both "
        "sides together: a higher challenge age lets fewer people under the legal age through, "
        "and refers more people who are old enough. The lines of the figure are broken at single "
        "years with too few photos.",
    )
    tables = [_challenge_table(checks), _size_table(checks)]
    if checks.years:
        bands = _band_table([checks.bands], checks.shown_challenges, "Wrong results by age band")
        tables.append(bands)
        tables += [_year_table(checks, "below"), _year_table(checks, "of age")]
    if checks.groups:
        tables.append(_group_table(checks))
    tables += [_risk_table(checks), _risk_band_table(checks)]
    return Section(
        f"Age check at {legal} years",
        text,
        tuple(table for table in tables if table.rows),
        tuple(_figures(checks)),
    )


def nist_section(checks: tuple[LegalAge, ...], rows: tuple[ChildSafety, ...]) -> Section:
    """Return the section with two of the figures by which NIST compares programs."""
    tables = [_challenge_25_table(part) for part in checks if part.legal == LEGAL_AGE]
    tables.append(
        Table(
            ("true age, years", "photos", "taken for 13 to 16 (95 % interval)"),
            tuple((str(row.age), row.inside.count, rate_text(row.inside)) for row in rows),
            "Child safety: people who are taken for 13 to 16 years old",
        )
    )
    return Section(
        "Challenge 25 and child safety, as NIST FATE AEV states them",
        (
            "NIST, the standards institute of the USA, compares programs by these figures, among "
            'others (NIST IR 8525). "Challenge 25" asks how many people under 18 are taken for 25 '
            "or older, above all at the age of 17. The photos of NIST are others, so the figures "
            "here cannot be compared with those of its reports.",
            '"Child safety" is for a service for teenagers, which asks who is 13 to 16 years old. '
            "For people of 13 to 16 a high share is right; for all other ages it is wrong.",
        ),
        tuple(table for table in tables if table.rows),
    )


def _challenge_25_table(checks: LegalAge) -> Table:
    """Return who of each single year below 18 is taken for 25 or older."""
    place = checks.shown_challenges.index(CHALLENGE)
    (overall,) = (row.let_through for row in checks.challenges if row.challenge == CHALLENGE)
    rates = {
        str(row.low): row.wrong[place]
        for row in reversed(checks.years)
        if row.side == "below" and row.low >= YOUNGEST
    }
    rates[f"all under {checks.legal}"] = overall
    return Table(
        ("true age, years", "photos", f"taken for {CHALLENGE} or older (95 % interval)"),
        tuple((name, rate.count, rate_text(rate)) for name, rate in rates.items() if rate.count),
        f"Challenge 25: people under {checks.legal} who are taken for {CHALLENGE} or older",
    )


def _challenge_table(checks: LegalAge) -> Table:
    legal = checks.legal
    rows: list[tuple[Cell, ...]] = []
    for row in checks.challenges:
        even = row.even
        rows.append(
            (
                str(row.challenge),
                rate_text(row.let_through),
                rate_text(row.next_below),
                f"{percent(even.share)} (at most {percent(even.bound)})" if even else TOO_FEW,
                rate_text(row.referred),
            )
        )
    columns = (
        "challenge age, years",
        f"under {legal}: let through (95 % interval)",
        f"aged {legal - 1}: let through (95 % interval)",
        f"aged {YOUNGEST} to {legal - 1}, each year counts the same: let through (95 % bound)",
        f"aged {legal} or more: referred (95 % interval)",
    )
    return Table(columns, tuple(rows), "Both errors at each challenge age")


def _size_table(checks: LegalAge) -> Table:
    """Return how wrong the wrong results are."""
    legal = checks.legal
    return Table(
        (
            "challenge age, years",
            "wrongly let through, photos",
            "the youngest of them, years",
            f"mean years below {legal} (95 % interval)",
            f"referred although {legal} or more, photos",
            "the oldest of them, years",
            f"mean years above {legal} (95 % interval)",
        ),
        tuple(
            (
                str(row.challenge),
                row.let_through.hits,
                "nobody" if row.youngest is None else str(row.youngest),
                mean_text(row.years_below),
                row.referred.hits,
                "nobody" if row.oldest is None else str(row.oldest),
                mean_text(row.years_above),
            )
            for row in checks.challenges
            if row.challenge in checks.shown_challenges
        ),
        "How wrong the wrong results are",
    )


def _year_table(checks: LegalAge, side: str) -> Table:
    wrong = "let through" if side == "below" else "referred"
    rows = [row for row in checks.years if row.side == side]
    columns = (
        *("true age, years", "photos"),
        *(f"{wrong} at challenge age {age} (95 % interval)" for age in checks.shown_challenges),
    )
    who = f"under {checks.legal}" if side == "below" else f"aged {checks.legal} or more"
    return Table(
        columns,
        tuple(
            (str(row.low), row.wrong[0].count, *(rate_text(rate) for rate in row.wrong))
            for row in (reversed(rows) if side == "below" else rows)
        ),
        f"People {who} who are {wrong}, by single year of age",
    )


def _band_table(
    results: Sequence[Sequence[YearResult]], challenges: Sequence[int], title: str
) -> Table:
    """Return a table with a row for each age band, which joins the rates of several results."""
    columns = (
        *("true age, years, and what is wrong", "photos"),
        *(f"wrong at challenge age {age} (95 % interval)" for age in challenges),
    )
    rows: list[tuple[Cell, ...]] = []
    for parts in zip(*results, strict=True):
        rates = [rate for part in parts for rate in part.wrong]
        wrong = "let through" if parts[0].side == "below" else "referred"
        band = f"{parts[0].low} to {parts[0].high}: {wrong}"
        rows.append((band, rates[0].count, *map(rate_text, rates)))
    return Table(columns, tuple(rows), title)


def _risk_band_table(checks: LegalAge) -> Table:
    found = {row.challenge: row.bands for row in checks.risks if row.challenge is not None}
    title = "Wrong results by age band, at the challenge ages that the wanted risks need"
    return _band_table(list(found.values()), list(found), title)


def _group_table(checks: LegalAge) -> Table:
    legal = checks.legal
    return Table(
        (
            "group",
            "challenge age, years",
            f"photos, aged {legal - NEAR} to {legal - 1}",
            f"aged {legal - NEAR} to {legal - 1}: let through (95 % interval)",
            f"photos, aged {legal} or more",
            f"aged {legal} or more: referred (95 % interval)",
        ),
        tuple(
            (
                row.name,
                str(row.challenge),
                row.let_through.count,
                rate_text(row.let_through),
                row.referred.count,
                rate_text(row.referred),
            )
            for row in checks.groups
        ),
        f"By sex and group: people aged {legal - NEAR} to {legal - 1} who are let through, and "
        f"people of {legal} or more who are referred",
    )


def _risk_table(checks: LegalAge) -> Table:
    legal = checks.legal
    return Table(
        (
            f"wanted: share of people under {legal} let through is at most",
            "challenge age for that, years",
            "upper bound by the calibration photos, or why there is none",
            f"here, aged {YOUNGEST} to {legal - 1}, each year counts the same: let through",
            f"here, aged {YOUNGEST} to {legal - 1}: let through (95 % interval)",
            f"here, aged {legal} or more: referred (95 % interval)",
            "does the bound hold here?",
        ),
        tuple(_risk_row(row) for row in checks.risks),
        "Which challenge age a wanted risk needs. It was chosen on the calibration photos in the "
        "model file, and then tried on the photos of this report",
    )


def _risk_row(row: RiskResult) -> tuple[Cell, ...]:
    if row.challenge is None:
        return (percent(row.risk), "none", row.problem, *[None] * 4)
    found = (
        f"{percent(row.found.share)} (at most {percent(row.found.bound)})" if row.found else None
    )
    holds = {True: "yes", False: "no", None: "too few photos"}[row.holds]
    return (
        percent(row.risk),
        str(row.challenge),
        None if row.bound is None else percent(row.bound),
        found or TOO_FEW,
        rate_text(row.let_through),
        rate_text(row.referred),
        holds,
    )


def _figures(checks: LegalAge) -> Iterator[Figure]:
    legal = checks.legal
    series = []
    for number, challenge in enumerate(checks.shown_challenges):
        shares = {row.low: _passing(row, number) for row in checks.years}
        ages = range(max(0, legal - FIGURE_BELOW), legal + FIGURE_ABOVE + 1)
        values = [shares.get(age) for age in ages]
        if any(value is not None for value in values):
            # Where a year has too few photos, the line is broken.
            drawn = tuple(math.nan if value is None else 100 * value for value in values)
            series.append(Series(f"challenge age {challenge}", drawn, tuple(ages)))
    if series:
        yield Figure(
            f"Who passes at {legal}: share of each single year of age",
            FigureKind.LINES,
            "people who pass, %",
            tuple(series),
            "true age, years",
        )
    both = [
        (100 * row.referred.share, 100 * row.let_through.share)
        for row in checks.challenges
        if row.referred.share is not None and row.let_through.share is not None
    ]
    if both:
        referred, passed = zip(*both, strict=True)
        yield Figure(
            f"Both errors against each other, challenge ages {legal} (top left) to "
            f"{checks.challenges[-1].challenge}",
            FigureKind.LINES,
            f"people under {legal} who are let through, %",
            (Series("challenge ages", passed, referred),),
            f"people aged {legal} or more who are referred, %",
        )


def _passing(row: YearResult, number: int) -> float | None:
    share = row.wrong[number].share
    if share is None:
        return None
    return share if row.side == "below" else 1 - share
