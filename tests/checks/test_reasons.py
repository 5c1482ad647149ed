import math
from dataclasses import replace

import numpy as np
import pytest

from halnet.ages import AgeCalibration
from halnet.checks.reasons import REASONS, Finding, Reason, find_reasons
from halnet.errors import ConfigError
from halnet.faces.alignment import TEMPLATE
from halnet.faces.quality import Quality
from halnet.results import Face

GOOD = Quality(
    eye_distance=70,
    sharpness=0.4,
    brightness=130,
    yaw=5,
    pitch=0,
    inside=1,
    score=0.94,
)
# At the level 90 %, the interval is about 2 standard deviations wide to each side.
CALIBRATION = AgeCalibration(1.0, tuple(np.linspace(0.1, 2.2, 99)))


def face(stddev: float, calibration: AgeCalibration = CALIBRATION) -> Face:
    probabilities = np.full(101, 1 / 101, np.float32)
    landmarks = TEMPLATE.astype(np.float32)
    return Face(50.0, stddev, probabilities, (0, 0, 1, 1), landmarks, 0.94, calibration)


def names(quality: Quality, stddev: float = 3.0) -> list[str]:
    return [finding.name for finding in find_reasons(quality, face(stddev))]


def test_a_good_face_has_no_reason() -> None:
    assert find_reasons(GOOD, face(3.0)) == ()


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("too small", "eye_distance", 6.0),
        ("blurred", "sharpness", 0.05),
        ("too dark", "brightness", 12.0),
        ("too bright", "brightness", 245.0),
        ("cut off", "inside", 0.3),
    ],
)
def test_each_number_has_its_reason(name: str, field: str, value: float) -> None:
    assert names(replace(GOOD, **{field: value})) == [name]


def test_a_wide_interval_is_a_reason() -> None:
    (finding,) = find_reasons(GOOD, face(20.0))
    low, high = face(20.0).interval(0.9)
    assert finding.name == "uncertain"
    assert finding.value == pytest.approx(high - low)
    assert finding.limit < finding.value


def test_all_reasons_are_found_in_order() -> None:
    bad = Quality(1, 0, 1, 80, 60, 0, 0)
    assert names(bad, 20.0) == [reason.name for reason in REASONS if reason.name != "too bright"]


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_the_limit_itself_is_accepted(reason: Reason) -> None:
    limit = reason.low if math.isfinite(reason.low) else reason.high
    worse = -1 if math.isfinite(reason.low) else 1
    at_limit = replace(reason, value=lambda quality, face: limit)
    beyond = replace(reason, value=lambda quality, face: limit + worse * 1e-6)
    assert at_limit.find(GOOD, face(3.0)) is None
    assert beyond.find(GOOD, face(3.0)) == Finding(reason.name, limit + worse * 1e-6, limit)


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_a_number_that_is_not_known_is_refused(reason: Reason) -> None:
    unknown = replace(reason, value=lambda quality, face: math.nan).find(GOOD, face(3.0))
    assert unknown is not None
    assert math.isfinite(unknown.limit)
    assert unknown.to_dict() == {"name": reason.name, "value": None, "limit": unknown.limit}


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_each_reason_has_one_limit_and_a_sentence_with_a_cure(reason: Reason) -> None:
    assert math.isfinite(reason.low) != math.isfinite(reason.high)
    assert reason.describe.endswith(".")
    assert "; " in reason.describe


def test_names_are_different() -> None:
    assert len({reason.name for reason in REASONS}) == len(REASONS)


def test_a_model_without_the_level_is_an_error() -> None:
    few = AgeCalibration(1.0, tuple(np.linspace(0.1, 1.0, 80)))
    with pytest.raises(ConfigError, match=r"level 0\.9"):
        find_reasons(GOOD, face(3.0, few))
