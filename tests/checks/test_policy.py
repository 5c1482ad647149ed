from typing import Any

import numpy as np
import pytest

from halnet.ages import AgeCalibration
from halnet.artifact import Metadata
from halnet.checks.policy import CheckPolicy, make_policy
from halnet.checks.risk import choose_challenge, measure_risk
from halnet.errors import ConfigError

CALIBRATION = AgeCalibration(1.0, (1.0,))
# Each year has 20 photos. Among the 17-year-olds, one is taken for 25.5 years.
ERRORS = (*(((0.0,) * 20),) * 17, (*(0.0,) * 19, 8.5))
METADATA = Metadata(CALIBRATION, minor_errors=ERRORS)
BARE = Metadata(CALIBRATION)
SEVERAL = {"min_usable": 0.5, "max_several": 0.1, "max_spread": 7.0}  # of several photos


@pytest.mark.parametrize(
    ("legal", "expected"), [(18, 25), (16, 23), (21, 28), (1, 8), (95, 100), (100, 100)]
)
def test_the_default_challenge_age_is_seven_years_higher(legal: int, expected: int) -> None:
    policy = make_policy(BARE, legal)
    assert (policy.legal, policy.challenge, policy.max_risk) == (legal, expected, None)
    assert policy.risk is None


def test_a_policy_states_the_measured_risk_of_its_challenge_age() -> None:
    policy = make_policy(METADATA)
    assert policy.risk == measure_risk(ERRORS, 18, 25)
    assert policy.risk.estimate == pytest.approx(1 / 200)
    assert make_policy(METADATA, 18, 26).risk == measure_risk(ERRORS, 18, 26)
    assert make_policy(METADATA, 21).risk is None  # no errors of people aged 18 to 20 are known


def test_the_risk_chooses_the_challenge_age() -> None:
    policy = make_policy(METADATA, max_risk=0.02)
    assert policy == CheckPolicy(18, 26, 0.02, choose_challenge(ERRORS, 18, 0.02))
    assert make_policy(METADATA, max_risk=0.03).challenge == 18
    assert policy.to_dict() == {
        **{"legal": 18, "challenge": 26, "max_risk": 0.02},
        "risk": {
            **{"legal": 18, "challenge": 26, "estimate": 0.0, "bound": 0.01487},
            **{"photos": 200, "effective_photos": 200},
        },
        **SEVERAL,
    }
    assert make_policy(BARE, 18, 30).to_dict() == {
        **{"legal": 18, "challenge": 30, "max_risk": None, "risk": None},
        **SEVERAL,
    }


@pytest.mark.parametrize(
    ("metadata", "values", "message"),
    [
        (BARE, {"legal": 0}, "legal age 0: expected 1 to 100 years"),
        (BARE, {"legal": 200}, "legal age 200: expected 1 to 100 years"),
        (METADATA, {"legal": 0, "max_risk": 0.05}, "legal age 0: expected 1 to 100 years"),
        (METADATA, {"legal": 200, "max_risk": 0.05}, "legal age 200: expected 1 to 100 years"),
        (BARE, {"legal": 18.5}, r"legal age: expected a whole number of years, found 18\.5"),
        (BARE, {"legal": "18"}, "legal age: expected a whole number of years, found '18'"),
        (BARE, {"legal": True}, "legal age: expected a whole number of years, found True"),
        (BARE, {"challenge": 25.0}, r"challenge age: expected a whole number .* found 25\.0"),
        (BARE, {"challenge": 17}, "challenge age 17: expected 18, which is the legal age, to 100"),
        (BARE, {"challenge": 101}, "challenge age 101: expected 18, which is the legal age"),
        (METADATA, {"challenge": 25, "max_risk": 0.05}, "expected one of them, found both"),
        (METADATA, {"max_risk": 0}, "largest risk 0: expected a share above 0 and below 1"),
        (METADATA, {"max_risk": 2}, "largest risk 2: expected a share above 0 and below 1"),
        (METADATA, {"max_risk": "0.05"}, "largest risk: expected a number .* found '0.05'"),
        (METADATA, {"max_risk": [0.05]}, r"largest risk: expected a number .* found \[0.05\]"),
        (METADATA, {"max_risk": True}, "largest risk: expected a number .* found True"),
        (METADATA, {"max_risk": 0.01}, "can vouch for 0.0149 at best"),
        (METADATA, {"legal": 21, "max_risk": 0.05}, "legal age 21: expected 9 to 18 years"),
        (BARE, {"max_risk": 0.05}, "states no errors of minors"),
    ],
)
def test_wrong_policies(metadata: Metadata, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_policy(metadata, **values)


def test_the_risk_may_be_a_number_of_numpy() -> None:
    policy = make_policy(METADATA, max_risk=np.float32(0.05))
    assert type(policy.max_risk) is float
    assert policy.risk is not None
    assert policy.risk.bound <= 0.05
