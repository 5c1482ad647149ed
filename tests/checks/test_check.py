"""Age checks with the fake runtime, whose ages are brightness, and with findings at will."""

import gc
import json
import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

import halnet
from halnet import AgeCheck, CheckOutcome, DetectedFace, Predictor
from halnet.ages import mean_and_stddev
from halnet.checks import check as checks
from halnet.checks.policy import CheckPolicy
from halnet.checks.reasons import REASONS, Finding
from halnet.errors import ConfigError, ImageError
from halnet.runtimes.fake import FakeRuntime

LANDMARKS = np.array([[45, 45], [65, 45], [55, 55], [47, 65], [63, 65]], np.float32)
ERRORS = (*(((0.0,) * 20),) * 17, (*(0.0,) * 19, 8.5))  # of 200 minors who count, one passes at 25
SHA = "ab" * 32
DARK, BLURRED = (
    next(reason.describe for reason in REASONS if reason.name == name)
    for name in ("too dark", "blurred")
)
EMPTY = np.zeros((100, 120, 3), np.uint8)


@dataclass(frozen=True)
class FakeQuality:
    """Two numbers of a face: the brightness of its crop, and the width of its photo."""

    brightness: float
    width: float

    def to_dict(self) -> dict[str, float]:
        return {"brightness": self.brightness, "width": self.width}


def gray(age: float, faces: int = 1, mark: int = 0) -> np.ndarray:
    """A photo whose face has this age, of so many faces."""
    photo = np.full((100, 120 + faces, 3), round(age / 100 * 255), np.uint8)
    photo[0, 0] = mark
    return photo


def age_of(age: float) -> float:
    """The age of a photo that `gray` made: brightness is a whole number."""
    return round(age / 100 * 255) / 255 * 100


def detect(photo: np.ndarray) -> list[DetectedFace]:
    count = photo.shape[1] - 120
    return [DetectedFace((30, 20, 50 - i, 60), LANDMARKS, 0.9) for i in range(count)]


def measure(crop: np.ndarray, landmarks: np.ndarray, size: tuple[int, int], score: float) -> Any:
    assert crop.shape == (224, 224, 3)
    assert landmarks.tolist() == LANDMARKS.tolist()
    assert size[0] > 120
    assert size[1] == 100
    assert score == 0.9
    return FakeQuality(float(crop.mean()), float(size[0]))


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """A predictor of a model with errors of minors. Faces below 12 years have findings."""

    def find(quality: FakeQuality, face: halnet.Face) -> tuple[Finding, ...]:
        found = [Finding("too dark", quality.brightness, 60.0)] if face.age < 12 else []
        return tuple(found + ([Finding("blurred", 1.0, 2.0)] if face.age < 6 else []))

    monkeypatch.setattr("halnet.predictor.measure_quality", measure)
    monkeypatch.setattr(checks, "find_reasons", find)
    runtime = FakeRuntime()
    metadata = replace(runtime.spec.metadata, minor_errors=ERRORS, checkpoint_sha256=SHA)
    runtime.spec = replace(runtime.spec, metadata=metadata, model="folder/model.fake")
    return Predictor(runtime, detector=detect)


def test_who_looks_as_old_as_the_challenge_age_passes(predictor: Predictor) -> None:
    check = predictor.check(gray(40))
    assert type(check) is AgeCheck
    assert (check.outcome, check.reason, check.passed) == ("pass", "", True)
    assert check.age == pytest.approx(40, abs=0.01)
    assert check.interval == pytest.approx((31, 49), abs=0.02)  # 1.8 standard deviations
    assert check.level == 0.9
    assert check.probability == pytest.approx(1, abs=1e-4)
    assert (check.photos, check.unused, check.findings) == (1, (), ())
    assert check.liveness == "not run"
    assert check.quality == FakeQuality(102, 121)
    assert check.policy.challenge == 25


def test_others_are_referred(predictor: Predictor) -> None:
    check = predictor.check(gray(22))
    assert (check.outcome, check.passed) == (CheckOutcome.REFER, False)
    assert check.age == pytest.approx(age_of(22), abs=0.005)
    assert check.reason == (
        "The person is probably 18 or older, but this is not certain. The predicted age of "
        f"{check.age:.2f} years does not reach the challenge age of 25. Verify the age in another "
        "way."
    )
    assert check.photos == 1
    # the normal distribution with a standard deviation of 5 years, from 17.5 years on
    assert check.probability == pytest.approx(0.816, abs=0.005)


def test_who_is_referred_is_never_called_a_minor(predictor: Predictor) -> None:
    check = predictor.check(gray(14))
    assert check.reason == (
        f"The predicted age of {check.age:.2f} years does not reach the challenge age of 25. "
        "Verify the age in another way."
    )
    assert check.probability is not None
    assert check.probability < 0.5
    older = predictor.check(gray(14), legal=13)  # the probability is that of the legal age
    assert older.reason.startswith("The person is probably 13 or older, but this is not certain. ")


@pytest.mark.parametrize(
    ("challenge", "outcome"), [(40, "pass"), (41, "refer"), (18, "pass"), (100, "refer")]
)
def test_the_challenge_age_decides(challenge: int, outcome: str, predictor: Predictor) -> None:
    assert predictor.check(gray(40), challenge=challenge).outcome == outcome


@pytest.mark.parametrize(("age", "outcome"), [(24.994, "refer"), (24.996, "pass"), (25.0, "pass")])
def test_the_age_is_compared_as_the_record_and_the_risk_state_it(
    age: float, outcome: str, predictor: Predictor
) -> None:
    face = replace(predictor(gray(25))[0], age=age, quality=FakeQuality(64, 121))
    view = checks.PhotoView(gray(25))
    check = checks.check_faces([(view, [face])], CheckPolicy(), predictor.spec)
    assert (check.outcome, check.age) == (outcome, round(age, 2))


def test_the_probability_is_that_of_the_legal_age(predictor: Predictor) -> None:
    face = predictor(gray(22))[0]
    for legal in (16, 18, 21):
        probability = predictor.check(gray(22), legal=legal).probability
        assert probability == face.probability(at_least=legal)


def test_the_risk_chooses_the_challenge_age(predictor: Predictor) -> None:
    check = predictor.check(gray(27), max_risk=0.02)
    assert (check.policy.challenge, check.outcome) == (26, "pass")
    assert check.policy.risk is not None
    assert check.policy.risk.bound < 0.02
    assert predictor.check(gray(25), max_risk=0.02).outcome == "refer"
    assert predictor.check(gray(25), max_risk=0.03).outcome == "pass"


@pytest.mark.parametrize(
    ("photo", "reason", "names"),
    [
        (EMPTY, "No face was found.", []),
        (gray(40, 2), "Several faces were found, and a check is of one person alone.", []),
        (gray(10), DARK, ["too dark"]),
        (gray(2), f"{DARK} {BLURRED}", ["too dark", "blurred"]),
    ],
)
def test_a_photo_that_gives_no_result(
    photo: np.ndarray, reason: str, names: list[str], predictor: Predictor
) -> None:
    asked: list[np.ndarray] = []
    check = predictor.check(photo, legal=1, challenge=1, liveness=asked.append)  # type: ignore[arg-type]
    assert (check.outcome, check.reason, check.passed) == ("no_result", reason, False)
    assert (check.age, check.interval, check.probability) == (None, None, None)
    assert [found.name for found in check.findings] == names
    assert (check.quality is None) == (not names)
    assert (check.photos, sum(dict(check.unused).values())) == (0, 1)
    assert (asked, check.liveness) == ([], "not run")


@pytest.mark.parametrize("answer", [True, np.True_, False, np.False_])
def test_the_liveness_check_sees_the_photo_and_decides(answer: bool, predictor: Predictor) -> None:
    photos: list[np.ndarray] = []

    def liveness(photo: np.ndarray) -> bool:
        photos.append(photo)
        return answer

    check = predictor.check(gray(40, mark=7), liveness=liveness)
    (photo,) = photos
    assert (photo == gray(40, mark=7)).all()
    assert check.liveness is bool(answer)
    if answer:
        assert (check.outcome, check.photos) == ("pass", 1)
    else:
        assert (check.outcome, check.age, check.photos) == ("no_result", None, 0)
        assert check.reason.startswith("The liveness check does not confirm a living person")
        assert check.unused == (("not live", 1),)


def test_one_photo_that_is_not_live_ends_the_check(predictor: Predictor) -> None:
    answers = iter([True, False, True])
    check = predictor.check([gray(40)] * 3, liveness=lambda photo: next(answers))
    assert (check.outcome, check.liveness, check.age) == ("no_result", False, None)
    assert check.reason.startswith("The liveness check does not confirm a living person")
    assert next(answers) is True  # the third photo was not shown


@pytest.mark.parametrize("answer", [0.01, None, "no", 0])
def test_a_liveness_check_must_answer_true_or_false(answer: Any, predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="found that it returned .*; compare a score with its"):
        predictor.check(gray(40), liveness=lambda photo: answer)


def test_several_photos_are_averaged(predictor: Predictor) -> None:
    photos = [gray(30), EMPTY, gray(42), gray(2), EMPTY]
    check = predictor.check(photos, challenge=30)
    first, second = predictor(photos[0])[0], predictor(photos[2])[0]
    mean = (first.probabilities.astype(float) + second.probabilities) / 2
    age, stddev = mean_and_stddev(mean[None])
    assert (check.outcome, check.reason) == ("pass", "")
    assert check.age == pytest.approx((age_of(30) + age_of(42)) / 2, abs=0.01)
    low, high = FakeRuntime().spec.metadata.calibration.interval(age, stddev, 0.9)
    assert check.interval == pytest.approx((float(low[0]), float(high[0])), abs=0.01)
    both = [face.probability(at_least=18) for face in (first, second)]
    assert check.probability == pytest.approx(np.mean(both), abs=1e-4)
    assert (check.photos, check.total) == (2, 5)
    assert check.unused == (("no face", 2), ("too dark, blurred", 1))
    assert [found.name for found in check.findings] == ["too dark", "blurred"]
    # of the two photos that were used
    assert check.quality == FakeQuality(np.mean([round(0.3 * 255), round(0.42 * 255)]), 121)


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_photos_come_as_a_list_a_tuple_or_a_generator(kind: Any, predictor: Predictor) -> None:
    def frames() -> Generator[np.ndarray]:
        yield from (gray(30), gray(40))

    photos = frames() if kind is iter else kind([gray(30), gray(40)])
    check = predictor.check(photos)
    assert check.age == pytest.approx((age_of(30) + age_of(40)) / 2, abs=0.01)


def test_half_of_the_photos_with_a_face_must_be_usable(predictor: Predictor) -> None:
    two = [gray(40), gray(40)]
    enough = predictor.check([*two, gray(10), gray(2), *[EMPTY] * 9])
    assert (enough.outcome, enough.photos, enough.total) == ("pass", 2, 13)
    check = predictor.check([*two, gray(10), gray(2), gray(11), *[EMPTY] * 9])
    assert (check.outcome, check.age, check.probability) == ("no_result", None, None)
    assert check.reason == (
        "Only 2 of the 5 photos with a face can be used (too dark: 2; too dark, blurred: 1). A "
        "check needs 50% of them."
    )
    assert (check.photos, check.total) == (2, 14)
    assert check.unused == (("too dark", 2), ("too dark, blurred", 1), ("no face", 9))
    assert [found.name for found in check.findings] == ["too dark", "blurred"]
    assert check.quality == FakeQuality(102, 121)  # of the two that can be used


def test_few_photos_may_show_several_people(predictor: Predictor) -> None:
    few = predictor.check([*[gray(40)] * 9, gray(40, 2), EMPTY])
    assert (few.outcome, few.photos) == ("pass", 9)
    check = predictor.check([*[gray(40)] * 8, gray(40, 2), *[EMPTY] * 9])
    assert (check.outcome, check.age, check.photos) == ("no_result", None, 8)
    assert check.reason == (
        "Several faces were found in 1 of the 9 photos with a face. A check is of one person "
        "alone, and at most 10% of these photos may show others."
    )


@pytest.mark.parametrize(("other", "outcome"), [(53, "pass"), (55, "no_result")])
def test_ages_that_differ_too_much_are_not_of_one_person(
    other: float, outcome: str, predictor: Predictor
) -> None:
    check = predictor.check([*[gray(40)] * 3, EMPTY, *[gray(other)] * 3])
    assert check.outcome == outcome
    spread = (age_of(other) - age_of(40)) / 2  # half of the photos are at either end
    if outcome == "no_result":
        assert check.reason == (
            "The ages of the 6 photos differ too much: their standard deviation is "
            f"{spread:.1f} years, and at most 7 are expected of one person. Perhaps the photos "
            "show different people."
        )
        assert (check.age, check.interval, check.photos) == (None, None, 6)


def test_a_child_and_an_adult_do_not_pass_as_one(predictor: Predictor) -> None:
    """The mean of both ages is above the challenge age."""
    check = predictor.check([gray(15), gray(45)] * 4)
    assert check.outcome == "no_result"
    assert "Perhaps the photos show different people" in check.reason


def test_memory_does_not_grow_with_the_number_of_photos(predictor: Predictor) -> None:
    alive = []

    def frames() -> Generator[np.ndarray]:
        for index in range(60):
            alive.append(sum(isinstance(value, halnet.Face) for value in gc.get_objects()))
            yield gray(10 if index % 3 else 40)  # most of them cannot be used
            yield gray(40)
            yield gray(40)

    gc.collect()
    gc.freeze()  # the objects of other tests, which may be millions, are not searched
    try:
        assert predictor.check(frames()).total == 180
    finally:
        gc.unfreeze()
    assert max(alive) - alive[0] <= 3


def test_the_liveness_of_photos_that_are_too_few_is_known(predictor: Predictor) -> None:
    check = predictor.check([gray(40), gray(10), gray(10)], liveness=lambda photo: True)
    assert (check.outcome, check.liveness) == ("no_result", True)
    record = check.to_dict()
    assert (record["photos"], record["unused"]) == (1, {"too dark": 2})


def test_faces_without_their_quality_are_refused(predictor: Predictor) -> None:
    view = checks.PhotoView(gray(40))
    with pytest.raises(ConfigError, match=r"found one without; predict them with Predictor\(qual"):
        checks.check_faces([(view, predictor(view))], CheckPolicy(), predictor.spec)


def test_no_photo_of_several_can_be_used(predictor: Predictor) -> None:
    check = predictor.check([EMPTY, gray(10), EMPTY, gray(11)])
    assert (check.outcome, check.age, check.photos) == ("no_result", None, 0)
    assert check.reason == "None of 4 photos can be used (no face: 2; too dark: 2)."
    (found,) = check.findings
    brightness = [round(age / 100 * 255) for age in (10, 11)]
    assert found.value == brightness[0]  # of the first photo with it
    assert check.quality == FakeQuality(np.mean(brightness), 121)


def test_the_audit_record(predictor: Predictor) -> None:
    before = datetime.now(UTC)
    check = predictor.check([gray(40), gray(10)], liveness=lambda photo: True)
    assert before <= check.time <= datetime.now(UTC)
    assert check.time.utcoffset() == timedelta()
    check = replace(check, time=datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC))
    record = check.to_dict()
    assert (
        json.loads(json.dumps(record))
        == record
        == {
            **{"format": 1, "time": "2026-01-02T03:04:05.678+00:00"},
            **{"outcome": "pass", "reason": ""},
            **{"age": 40.0, "interval": [31.0, 49.0], "level": 0.9, "probability": 1.0},
            "quality": {"brightness": 102.0, "width": 121.0},
            "findings": [{"name": "too dark", "value": 26.0, "limit": 60.0}],
            **{"liveness": True, "photos": 1, "unused": {"too dark": 1}},
            "policy": {
                **{"legal": 18, "challenge": 25, "max_risk": None},
                "risk": {
                    **{"legal": 18, "challenge": 25, "estimate": 0.005, "bound": 0.02350},
                    **{"photos": 200, "effective_photos": 200},
                },
                **{"min_usable": 0.5, "max_several": 0.1, "max_spread": 7.0},
            },
            "limits": {reason.name: reason.limit for reason in REASONS},
            "halnet": halnet.__version__,
            "model": {
                **{"name": "model.fake", "checkpoint_sha256": SHA},
                **{"precision": "fp32", "runtime": "fake"},
            },
        }
    )


def test_a_face_that_is_not_upright_is_not_judged(predictor: Predictor) -> None:
    """The detector turns a photo to find a face in it; what it finds is often none."""
    view = checks.PhotoView(gray(40))
    (face,) = Predictor(FakeRuntime(), detector=detect, quality=True)(view)
    found = [(view, [replace(face, turned=-90)])]
    check = checks.check_faces(found, CheckPolicy(), predictor.spec)
    assert (check.outcome, check.age, check.photos) == ("no_result", None, 0)
    assert check.reason == checks.SENTENCES["not upright"]
    dark = [(view, [replace(face, turned=180, age=3.0)])]
    check = checks.check_faces(dark, CheckPolicy(), predictor.spec)
    assert dict(check.unused) == {"not upright, too dark, blurred": 1}
    upright = checks.check_faces([(view, [face])], CheckPolicy(), predictor.spec)
    assert upright.outcome == "pass"


def test_the_record_without_a_result_is_json(predictor: Predictor) -> None:
    record = json.loads(json.dumps(predictor.check(EMPTY, challenge=30).to_dict()))
    assert record["outcome"] == "no_result"
    assert [record[key] for key in ("age", "interval", "probability", "quality")] == [None] * 4
    assert (record["unused"], record["liveness"]) == ({"no face": 1}, "not run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"legal": 0}, "legal age 0: expected 1 to 100 years"),
        ({"legal": 200}, "legal age 200: expected 1 to 100 years"),
        ({"challenge": 17}, "challenge age 17: expected 18, which is the legal age"),
        ({"max_risk": 0}, "largest risk 0: expected a share above 0 and below 1"),
        ({"max_risk": 2}, "largest risk 2: expected a share above 0 and below 1"),
        ({"max_risk": 0.02, "challenge": 25}, "expected one of them, found both"),
        ({"liveness": 0.5}, "liveness: expected a callable .*, found float"),
    ],
)
def test_wrong_arguments(values: dict[str, Any], message: str, predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match=message):
        predictor.check(EMPTY, **values)


def test_a_model_without_errors_of_minors_can_check_without_a_risk() -> None:
    with Predictor(FakeRuntime(), detector=detect) as predictor:
        assert predictor.check(EMPTY).policy.risk is None
        with pytest.raises(ConfigError, match="the model file states no errors of minors"):
            predictor.check(EMPTY, max_risk=0.05)
    with pytest.raises(ConfigError, match="used after close"):
        predictor.check(EMPTY)


def test_photos_that_are_none(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="expected at least one photo of the person, found none"):
        predictor.check([])
    with pytest.raises(ImageError, match=r"photo 1 \(counted from 0\)"):
        predictor.check([gray(40), b"no photo"])
    with pytest.raises(ImageError, match=r"none\.jpg"):
        predictor.check("none.jpg")


def test_the_names_are_public() -> None:
    assert halnet.CheckPolicy is CheckPolicy
    assert halnet.CheckOutcome is checks.CheckOutcome


def test_a_number_that_is_none_is_null(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    nan = FakeQuality(math.nan, 5.0)
    monkeypatch.setattr("halnet.predictor.measure_quality", lambda *values: nan)
    found = (Finding("too dark", math.nan, 35.0),)
    monkeypatch.setattr(checks, "find_reasons", lambda quality, face: found)
    record = json.loads(json.dumps(predictor.check(gray(40)).to_dict(), allow_nan=False))
    assert record["quality"] == {"brightness": None, "width": 5.0}
    assert record["findings"] == [{"name": "too dark", "value": None, "limit": 35.0}]


def test_the_limits_of_the_reasons_count() -> None:
    """The real measures and limits: an even face is blurred, and a black one is too dark."""
    with Predictor(FakeRuntime(), detector=detect) as predictor:
        check = predictor.check(gray(1))
    assert check.outcome == "no_result"
    assert {"blurred", "too dark"} <= {found.name for found in check.findings}
    assert DARK in check.reason
    assert check.quality is not None
    assert check.quality.brightness == pytest.approx(3, abs=0.1)
    assert check.quality.eye_distance == pytest.approx(20, abs=0.01)
    assert check.quality.score == 0.9
