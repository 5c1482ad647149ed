"""Age checks of a report: who is let through and who is referred, by legal and challenge age.

A check lets people through whose predicted age is at least the challenge age, and refers all others
to another proof of age. The figures follow the Face Analysis Technology Evaluation of NIST (NIST IR
8525, FATE AEV): rates by single year below the legal age, the challenge age 25, and "child safety",
the share of people who are predicted to be 13 to 16. Both sides always stand together, because a
model that lets few minors through easily refers many adults.

A photo whose label is a range counts as below or of age if the whole range is, and belongs to no
single year.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from halnet.ages import AGE_MAX, LEGAL_AGE
from halnet.audit.figures import StatedMean, StatedRate
from halnet.audit.schema import about
from halnet.audit.slices import KINDS, find_groups
from halnet.checks.risk import (
    YOUNGEST,
    MinorErrors,
    choose_challenge,
    count_needed_photos,
    find_obstacle,
    measure_risk,
)
from halnet.evaluation.predictions import Predictions
from halnet.evaluation.rates import CONFIDENCE, MIN_PHOTOS, exact_interval
from halnet.evaluation.scores import Chosen

LEGAL_AGES = (13, 16, 18, 21)  # years
CHALLENGES = range(16)  # years above the legal age
SHOWN = (0, 3, 5, 7, 10)  # years above the legal age: the challenge ages of tables by single year
OF_GROUPS = (0, 7)  # those of tables by group; 18 and 25 for the legal age 18
NEAR = 5  # years below the legal age: those who are hardest to tell, for the tables by group
# Age bands in years, both ends included. Each legal age is the beginning of one.
BANDS = (
    *((0, 7), (8, 9), (10, 12), (13, 15), (16, 17), (18, 20), (21, 24), (25, 29)),
    *((30, 39), (40, 49), (50, 59), (60, 100)),
)
OLDEST = 20  # years above the legal age: the last single year of the tables
RISKS = (0.1, 0.05, 0.02, 0.01)  # shares of people below the legal age who are let through
CHILD = (13, 16)  # years, both included: the ages of "child safety"
CHILD_YEARS = range(8, 23)  # years: the true ages in the table of "child safety"


@dataclass(frozen=True)
class EvenShare:
    """The share of people below the legal age who pass, if each single year counts the same.

    The years are those from 8 on. See `halnet.checks.risk.measure_risk`.
    """

    share: float = field(metadata=about("Mean of the shares of the single years.", 0, 1))
    bound: float = field(metadata=about("Upper bound at 95 % confidence (one side).", 0, 1))
    photos: int = field(metadata=about("Number of photos.", 0))
    effective_photos: int = field(
        metadata=about("So many photos, spread evenly over the years, tell as much.", 0)
    )


@dataclass(frozen=True)
class ChallengeResult:
    """What a check does at one challenge age."""

    challenge: int = field(metadata=about("Challenge age, years."))
    let_through: StatedRate = field(metadata=about("People below the legal age who pass."))
    next_below: StatedRate = field(
        metadata=about("Of these, people one year below the legal age who pass.")
    )
    even: EvenShare | None = field(
        metadata=about("People below who pass if each year counts the same; null: too few photos.")
    )
    referred: StatedRate = field(metadata=about("People of legal age who do not pass."))
    youngest: int | None = field(
        metadata=about("True age of the youngest person who passes, years; null: nobody passes.")
    )
    years_below: StatedMean = field(
        metadata=about("Of those wrongly let through, mean of legal age minus true age.")
    )
    oldest: int | None = field(
        metadata=about(
            "True age of the oldest person of legal age who does not pass, years; null: all pass."
        )
    )
    years_above: StatedMean = field(
        metadata=about("Of those of legal age who do not pass, mean of true age minus legal age.")
    )


@dataclass(frozen=True)
class YearResult:
    """How often people of one age, or of an age band, get the wrong result."""

    low: int = field(metadata=about("Lowest true age, years.", 0))
    high: int = field(metadata=about("Highest true age, years.", 0))
    side: str = field(metadata=about("On which side.", values=("below", "of age")))
    wrong: tuple[StatedRate, ...] = field(
        metadata=about(
            "Who passes of those below, and who does not pass of those of age: a rate for each of "
            "`shown_challenges`, or the one at the challenge age of a risk."
        )
    )


@dataclass(frozen=True)
class GroupResult:
    """What a check does with the people of one group."""

    kind: str = field(metadata=about("What the people have in common.", values=KINDS))
    name: str = field(metadata=about("Which of these, such as race: Black."))
    challenge: int = field(metadata=about("Challenge age, years."))
    let_through: StatedRate = field(
        metadata=about(f"People at most {NEAR} years below the legal age who pass.")
    )
    referred: StatedRate = field(metadata=about("People of legal age who do not pass."))


@dataclass(frozen=True)
class RiskResult:
    """The challenge age that a model needs for a wanted risk, and what it does on these photos."""

    risk: float = field(metadata=about("Largest share of people below who may pass.", 0, 1))
    challenge: int | None = field(
        metadata=about("Lowest challenge age that the calibration photos vouch for; null: none.")
    )
    bound: float | None = field(
        metadata=about("Upper bound of the share at 95 %, by the calibration photos.", 0, 1)
    )
    calibration_photos: int | None = field(
        metadata=about("Number of calibration photos of people below.", 0)
    )
    problem: str = field(metadata=about("Why there is no challenge age; empty if there is one."))
    found: EvenShare | None = field(metadata=about("The share on the photos of this report."))
    let_through: StatedRate | None = field(
        metadata=about(f"People from {YOUNGEST} years on below the legal age who pass here.")
    )
    referred: StatedRate | None = field(metadata=about("People of legal age who do not pass."))
    holds: bool | None = field(
        metadata=about(
            "Whether the share on these photos is above the bound only by chance; null: too few "
            "photos."
        )
    )
    bands: tuple[YearResult, ...]


@dataclass(frozen=True)
class LegalAge:
    """All results of checks at one legal age."""

    legal: int = field(metadata=about("Legal age, years."))
    below: int = field(metadata=about("Number of photos of people below the legal age.", 0))
    of_age: int = field(metadata=about("Number of photos of people of legal age.", 0))
    challenges: tuple[ChallengeResult, ...]
    shown_challenges: tuple[int, ...] = field(
        metadata=about("The challenge ages of `bands` and `years`, in years.")
    )
    bands: tuple[YearResult, ...]
    years: tuple[YearResult, ...]
    groups: tuple[GroupResult, ...]
    risks: tuple[RiskResult, ...]


@dataclass(frozen=True)
class ChildSafety:
    """How many people of one age are predicted to be 13 to 16 years old."""

    age: int = field(metadata=about("True age, years.", 0))
    inside: StatedRate = field(metadata=about("Predicted age of 13 or more and below 17."))


def check_legal_age(predictions: Predictions, legal: int, known: MinorErrors) -> LegalAge:
    """Return the results of checks at a legal age in years.

    `known` has the errors of minors that the model file states (`Metadata.minor_errors`).
    """
    own = find_minor_errors(predictions)
    below, of_age = predictions.label_high < legal, predictions.label_low >= legal
    shown = tuple(legal + above for above in SHOWN)
    return LegalAge(
        legal,
        int(below.sum()),
        int(of_age.sum()),
        tuple(_check(predictions, own, legal, legal + above) for above in CHALLENGES),
        shown,
        tuple(_check_bands(predictions, legal, shown)),
        tuple(_check_years(predictions, legal, shown)),
        tuple(_check_groups(predictions, legal)),
        tuple(_find_challenge(predictions, known, own, legal, risk) for risk in RISKS),
    )


def measure_child_safety(predictions: Predictions) -> tuple[ChildSafety, ...]:
    """Return the share that is predicted to be 13 to 16, for each single year with photos."""
    low, high = CHILD
    inside = (predictions.age >= low) & (predictions.age < high + 1)
    found = ((age, find_year(predictions, age)) for age in CHILD_YEARS)
    return tuple(ChildSafety(age, StatedRate.among(inside, own)) for age, own in found if own.any())


def find_year(predictions: Predictions, age: int) -> Chosen:
    """Return which photos are of people whose exact age is `age` years."""
    return np.asarray(predictions.is_exact & (predictions.label_low.astype(int) == age))


def _check(
    predictions: Predictions, own: MinorErrors, legal: int, challenge: int
) -> ChallengeResult:
    below, of_age = predictions.label_high < legal, predictions.label_low >= legal
    passed = predictions.age >= challenge
    wrong = predictions.label_high[below & passed]
    referred = predictions.label_low[of_age & ~passed]
    return ChallengeResult(
        challenge,
        StatedRate.among(passed, below),
        StatedRate.among(passed, find_year(predictions, legal - 1)),
        _even_share(own, legal, challenge),
        StatedRate.among(~passed, of_age),
        int(predictions.label_low[below & passed].min()) if len(wrong) else None,
        StatedMean.of(legal - wrong),
        int(referred.max()) if len(referred) else None,
        StatedMean.of(referred - legal),
    )


def _check_years(
    predictions: Predictions, legal: int, challenges: Sequence[int]
) -> Iterator[YearResult]:
    for age in range(legal + OLDEST + 1):
        own = find_year(predictions, age)
        if own.any():
            yield _count_wrong(predictions, legal, (age, age), own, challenges)


def _check_bands(
    predictions: Predictions, legal: int, challenges: Sequence[int]
) -> Iterator[YearResult]:
    """Yield the result of each band that is below the legal age or of age as a whole."""
    for low, high in BANDS:
        own = (predictions.label_low >= low) & (predictions.label_high <= high)
        if own.any() and (high < legal or low >= legal):
            yield _count_wrong(predictions, legal, (low, high), own, challenges)


def _count_wrong(
    predictions: Predictions,
    legal: int,
    ages: tuple[int, int],
    own: Chosen,
    challenges: Sequence[int],
) -> YearResult:
    is_below = ages[1] < legal
    rates = []
    for challenge in challenges:
        passed = predictions.age >= challenge
        rates.append(StatedRate.among(passed if is_below else ~passed, own))
    return YearResult(*ages, "below" if is_below else "of age", tuple(rates))


def _check_groups(predictions: Predictions, legal: int) -> Iterator[GroupResult]:
    near = (predictions.label_low >= legal - NEAR) & (predictions.label_high < legal)
    of_age = predictions.label_low >= legal
    for above in OF_GROUPS:
        passed = predictions.age >= legal + above
        for part in find_groups(predictions):
            yield GroupResult(
                part.kind,
                part.name,
                legal + above,
                StatedRate.among(passed, part.chosen & near),
                StatedRate.among(~passed, part.chosen & of_age),
            )


def _even_share(errors: MinorErrors, legal: int, challenge: int) -> EvenShare | None:
    """Return the share that passes if each single year counts the same; None: too few photos."""
    if find_obstacle(errors, legal):
        return None
    risk = measure_risk(errors, legal, challenge)
    if risk.effective_photos < MIN_PHOTOS:
        return None
    return EvenShare(risk.estimate, risk.bound, risk.photos, risk.effective_photos)


def _find_challenge(
    predictions: Predictions, known: MinorErrors, own: MinorErrors, legal: int, risk: float
) -> RiskResult:
    """Return the challenge age that the errors `known` to a model vouch for.

    `own` has the errors of the photos of the report.
    """
    if find_obstacle(known, legal):
        problem = (
            f"the model file does not state errors of calibration photos for each age from "
            f"{YOUNGEST} to {legal - 1}"
        )
        return RiskResult(risk, None, None, None, problem, None, None, None, None, ())
    best = measure_risk(known, legal, AGE_MAX)
    if best.bound > risk:
        problem = (
            f"the {best.photos} calibration photos can vouch for {100 * best.bound:.1f} % at best, "
            f"even if none of these people passes; this needs about {count_needed_photos(risk)} "
            "photos, spread evenly over the years, of which none passes"
        )
        return RiskResult(risk, None, None, best.photos, problem, None, None, None, None, ())
    chosen = choose_challenge(known, legal, risk)
    below = (predictions.label_low >= YOUNGEST) & (predictions.label_high < legal)
    passed = predictions.age >= chosen.challenge
    found = _even_share(own, legal, chosen.challenge)
    holds = None
    if found is not None:
        hits = round(found.share * found.effective_photos)
        holds = exact_interval(hits, found.effective_photos, 2 * CONFIDENCE - 1)[0] <= chosen.bound
    return RiskResult(
        risk,
        chosen.challenge,
        chosen.bound,
        chosen.photos,
        "",
        found,
        StatedRate.among(passed, below),
        StatedRate.among(~passed, predictions.label_low >= legal),
        holds,
        tuple(_check_bands(predictions, legal, [chosen.challenge])),
    )


def find_minor_errors(predictions: Predictions) -> MinorErrors:
    """Return the errors of the photos with exact ages, in years, by true age from 0 to 17."""
    return tuple(
        tuple(sorted(predictions.error[find_year(predictions, age)].tolist()))
        for age in range(LEGAL_AGE)
    )
