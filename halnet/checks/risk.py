"""Risk of a challenge age: how many minors an age check lets through, with an upper bound.

The risk is measured with the errors of calibration photos of minors, which a model file states
(`Metadata.minor_errors`). It therefore holds for single photos that are like these. The errors are
those of the checkpoint in FP32, without mirror images and before any photo is refused for its
quality.
"""

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from halnet.ages import AGE_MAX, LEGAL_AGE
from halnet.errors import ConfigError
from halnet.evaluation.rates import CONFIDENCE, exact_interval

YOUNGEST = 8  # years: minors from this age on count; younger ones are hardly taken for adults
# Legal ages, in years, of which a risk can be measured: at least one year of age counts, and the
# errors in a model file reach to the age of 17.
LEGAL_AGES = range(YOUNGEST + 1, LEGAL_AGE + 1)

MinorErrors = tuple[tuple[float, ...], ...]  # in years; one tuple for each true age from 0 to 17


@dataclass(frozen=True)
class ChallengeRisk:
    """The risk that a minor passes a check, for one challenge age."""

    legal: int  # legal age, years: younger people are minors
    challenge: int  # challenge age, years: who looks as old as that or older passes
    estimate: float  # risk of a minor from 8 years on, 0 to 1; each single year counts the same
    bound: float  # one-sided 95 % upper bound of the risk, 0 to 1
    photos: int  # number of calibration photos of minors from 8 years on
    effective_photos: int  # so many photos, evenly spread over the years, tell as much

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON, with risks rounded to five digits."""
        rounded = {"estimate": round(self.estimate, 5), "bound": round(self.bound, 5)}
        return {**asdict(self), **rounded}


def upper_bound(hits: int, count: int) -> float:
    """Return the exact one-sided 95 % upper bound of a share [Clopper, Pearson 1934].

    It is between 0 and 1, and 1 if all `count` photos are hits. In repeated samples, the true share
    is at most this bound in 95 % of them or more.
    """
    return exact_interval(hits, count, 2 * CONFIDENCE - 1)[1]


def count_needed_photos(max_risk: float) -> int:
    """Return with how many photos, of which none passes, the bound is at most `max_risk`."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-max_risk))


def find_obstacle(minor_errors: MinorErrors, legal: int) -> str | None:
    """Return why these errors give no risk for a legal age; None if they give one."""
    if legal not in LEGAL_AGES:
        return (
            f"legal age {legal}: expected {LEGAL_AGES[0]} to {LEGAL_AGES[-1]} years for a risk, "
            "because model files state the errors of people under 18 only; name a challenge age "
            "instead"
        )
    if not minor_errors:
        return (
            "the model file states no errors of minors, which a risk is measured with; use a model "
            'for which halnet info shows "calibration photos of minors", or name a challenge age '
            "instead"
        )
    missing = [str(year) for year in range(YOUNGEST, legal) if not minor_errors[year]]
    if missing:
        return (
            f"the model was calibrated without photos of people aged {', '.join(missing)}, so that "
            "it can vouch for no risk; use a model that was calibrated with photos of each age "
            f"from {YOUNGEST} to {legal - 1}, or name a challenge age instead"
        )
    return None


@lru_cache(maxsize=1024)
def measure_risk(minor_errors: MinorErrors, legal: int, challenge: int) -> ChallengeRisk:
    """Return the risk that a minor is predicted to be `challenge` years old or older.

    `minor_errors` has the errors (predicted minus true age, in years) by true age from 0 to 17. The
    risk is the mean of the shares of photos that pass, over the single years from 8 to `legal` - 1.
    Each year counts the same, however many photos it has.

    The bound is the exact one of a share, at the effective number of photos 1 / sum(w^2 / n), with
    the weight w and the number n of photos of each year [Korn and Graubard, Survey Methodology
    1998; effective number: Kish 1965]. This number is rounded down, and the hits among it are
    rounded up. The bound is exact if the risk is the same in all years. If it differs, the bound is
    too small in fewer than 5 % of samples, except if nearly all of the risk is in one year that has
    few photos.

    Raises ConfigError unless `legal` is between 9 and 18, and if one of these years has no photos.
    """
    obstacle = find_obstacle(minor_errors, legal)
    if obstacle:
        raise ConfigError(obstacle)
    years = range(YOUNGEST, legal)
    counts = [len(minor_errors[year]) for year in years]
    passed = [sum(year + error >= challenge for error in minor_errors[year]) for year in years]
    shares = (Fraction(*pair) for pair in zip(passed, counts, strict=True))
    estimate = sum(shares, Fraction()) / len(years)
    effective = math.floor(len(years) ** 2 / sum(Fraction(1, count) for count in counts))
    return ChallengeRisk(
        legal=legal,
        challenge=challenge,
        estimate=float(estimate),
        bound=upper_bound(math.ceil(estimate * effective), effective),
        photos=sum(counts),
        effective_photos=effective,
    )


@lru_cache
def choose_challenge(minor_errors: MinorErrors, legal: int, max_risk: float) -> ChallengeRisk:
    """Return the smallest whole challenge age from `legal` on whose bound is at most `max_risk`.

    `minor_errors` is as for `measure_risk`. The choice among many ages costs no confidence: the
    risk falls with the challenge age, so that this is a test of the ages in a fixed order, from the
    highest one down to the first that fails [fixed-sequence test: Maurer et al. 1995].

    Raises ConfigError unless `max_risk` is above 0 and below 1, if even the highest challenge age
    has a bound above it, and where `measure_risk` does.
    """
    if not 0 < max_risk < 1:
        raise ConfigError(
            f"largest risk {max_risk}: expected a share above 0 and below 1, such as 0.02"
        )
    obstacle = find_obstacle(minor_errors, legal)
    if obstacle:
        raise ConfigError(obstacle)
    for challenge in range(legal, AGE_MAX + 1):
        risk = measure_risk(minor_errors, legal, challenge)
        if risk.bound <= max_risk:
            return risk
    needed, years = count_needed_photos(max_risk), legal - YOUNGEST
    each = math.ceil(needed / years)
    smallest = math.ceil(risk.bound * 1e4) / 1e4  # rounded up, so that it can be asked for
    raise ConfigError(
        f"largest risk {max_risk:g}: the {risk.photos} calibration photos of people aged "
        f"{YOUNGEST} to {legal - 1} can vouch for {smallest:g} at best, even if no minor passes; "
        f"{max_risk:g} needs about {each * years} photos, {each} of each age, of which none "
        f"passes; ask for {smallest:g} or more, or name a challenge age instead"
    )
