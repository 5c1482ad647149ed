"""Policy of an age check: the legal age, and how old a person must look to pass."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from halnet.ages import AGE_MAX, LEGAL_AGE
from halnet.artifact import Metadata
from halnet.checks.risk import ChallengeRisk, choose_challenge, find_obstacle, measure_risk
from halnet.errors import ConfigError

# Years from the legal age to the default challenge age, as in the retail policy "Challenge 25".
MARGIN = 7

# For several photos, or the frames of a video. There is no result if
MIN_USABLE = 0.5  # a smaller share of the photos with a face can be used,
MAX_SEVERAL = 0.1  # a larger share of the photos with a face show several faces, or
# the ages of the photos that can be used have a larger standard deviation, in years. Fewer than 1 %
# of people exceed it with strong changes of one photo (halnet.benchmarks.studies.several_photos).
MAX_SPREAD = 7.0


@dataclass(frozen=True)
class CheckPolicy:
    """Who passes an age check: people whose predicted age is the challenge age or more.

    Raises ConfigError for a legal age outside of 1 to 100 years, and for a challenge age below the
    legal age or above 100 years.
    """

    legal: int = LEGAL_AGE  # years: the check asks whether a person is as old as that
    challenge: int = LEGAL_AGE + MARGIN  # years: who looks as old as that or older passes
    max_risk: float | None = None  # largest risk that was asked for, 0 to 1; None: not asked for
    risk: ChallengeRisk | None = None  # measured risk of the challenge age; None: not known

    def __post_init__(self) -> None:
        _check_whole("legal age", self.legal)
        _check_whole("challenge age", self.challenge)
        if not 1 <= self.legal <= AGE_MAX:
            raise ConfigError(f"legal age {self.legal}: expected 1 to {AGE_MAX} years")
        if not self.legal <= self.challenge <= AGE_MAX:
            raise ConfigError(
                f"challenge age {self.challenge}: expected {self.legal}, which is the legal age, "
                f"to {AGE_MAX} years"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {
            "legal": self.legal,
            "challenge": self.challenge,
            "max_risk": self.max_risk,
            "risk": None if self.risk is None else self.risk.to_dict(),
            "min_usable": MIN_USABLE,
            "max_several": MAX_SEVERAL,
            "max_spread": MAX_SPREAD,
        }


def make_policy(
    metadata: Metadata,
    legal: int = LEGAL_AGE,
    challenge: int | None = None,
    max_risk: float | None = None,
) -> CheckPolicy:
    """Return the policy for a model with these metadata.

    The challenge age is `challenge`, or the smallest one whose risk is at most `max_risk` (see
    `choose_challenge`). With neither, it is 7 years above the legal age, and 100 years at most.

    Raises ConfigError if both are given, for ages that `CheckPolicy` refuses, and for a risk that
    the model cannot vouch for.
    """
    if challenge is not None and max_risk is not None:
        raise ConfigError(
            "challenge age and largest risk: expected one of them, found both; leave out the "
            "challenge age to have it chosen by the risk"
        )
    errors = metadata.minor_errors
    if max_risk is not None:
        max_risk = _read_share(max_risk)
        CheckPolicy(legal, legal)  # a wrong legal age has the same message as without a risk
        risk = choose_challenge(errors, legal, max_risk)
        return CheckPolicy(legal, risk.challenge, max_risk, risk)
    _check_whole("legal age", legal)
    policy = CheckPolicy(legal, min(legal + MARGIN, AGE_MAX) if challenge is None else challenge)
    if find_obstacle(errors, legal):
        return policy
    measured = measure_risk(errors, legal, policy.challenge)
    return CheckPolicy(legal, policy.challenge, risk=measured)


def _read_share(value: Any) -> float:
    """Return a number of Python for a risk; ConfigError if it is none."""
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"largest risk: expected a number above 0 and below 1, found {value!r}")
    return value


def _check_whole(name: str, years: Any) -> None:
    """Raise ConfigError unless `years` is a whole number."""
    if isinstance(years, bool) or not isinstance(years, int):
        raise ConfigError(f"{name}: expected a whole number of years, found {years!r}")
