"""Age check: from the faces of one person's photos to pass, refer or no result.

A check never says that a person is a minor. It says that the person looks clearly old enough
("pass"), that the age has to be verified in another way ("refer"), or that the photo cannot be
judged ("no_result").
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from halnet import __version__
from halnet.ages import LEVEL
from halnet.checks.policy import MAX_SEVERAL, MAX_SPREAD, MIN_USABLE, CheckPolicy
from halnet.checks.reasons import REASONS, Finding, find_reasons
from halnet.checks.tally import Tally
from halnet.errors import ConfigError
from halnet.faces.photo_view import PhotoView
from halnet.faces.quality import Quality
from halnet.photos.images import Image
from halnet.results import Face, finite_numbers
from halnet.runtimes.base import RuntimeSpec

FORMAT = 1  # version of the audit record
DIGITS = 2  # of a predicted age that is compared with the challenge age, as of `minor_errors`
NO_FACE = "no face"
SEVERAL_FACES = "several faces"
NOT_UPRIGHT = "not upright"  # the detector turned the photo to find the face
NOT_LIVE = "not live"  # the liveness check does not confirm a living person
PROBLEM_SEPARATOR = ", "  # between several findings of one photo
SENTENCES = {
    NO_FACE: "No face was found.",
    SEVERAL_FACES: "Several faces were found, and a check is of one person alone.",
    NOT_UPRIGHT: "The face is not upright in the photo; hold the camera and the head upright.",
    NOT_LIVE: "The liveness check does not confirm a living person in front of the camera.",
    **{reason.name: reason.describe for reason in REASONS},
}

# A presentation attack detector: it takes an H x W x 3 uint8 RGB photo and returns whether the
# photo shows a living person.
Liveness = Callable[[Image], bool]


class CheckOutcome(StrEnum):
    """The outcome of an age check."""

    PASS = "pass"  # the predicted age is the challenge age or more
    REFER = "refer"  # it is less: the age has to be verified in another way
    NO_RESULT = "no_result"  # no photo can be judged


@dataclass(frozen=True)
class CheckedModel:
    """The model of a check."""

    name: str  # file name
    checkpoint_sha256: str  # SHA-256 of the checkpoint that the model file was made from
    precision: str  # such as "fp32"
    runtime: str  # such as "onnxruntime"

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


@dataclass(frozen=True)
class AgeCheck:
    """The result of an age check of one person.

    Without a result, `age`, `interval` and `probability` are None. `quality` is None if no photo
    shows exactly one face. With several photos, it has the mean of each number over the photos that
    can be used, or over those with exactly one face if none can.
    """

    outcome: CheckOutcome
    reason: str  # why the person does not pass, in whole sentences; "" for a pass
    policy: CheckPolicy
    model: CheckedModel
    age: float | None = None  # years, rounded to two digits, as it is compared
    interval: tuple[float, float] | None = None  # low and high, years
    level: float = LEVEL  # of the interval
    probability: float | None = None  # calibrated, of the legal age or more, 0 to 1
    quality: Quality | None = None
    findings: tuple[Finding, ...] = ()  # of photos that cannot be used; the first of each name
    liveness: bool | Literal["not run"] = "not run"  # the answer for all photos that can be used
    photos: int = 0  # number of photos, or frames of a video, that can be used
    unused: tuple[tuple[str, int], ...] = ()  # why others cannot, and how many of them
    time: datetime = field(default_factory=lambda: datetime.now(UTC))  # in UTC

    @property
    def passed(self) -> bool:
        """Whether the person passes."""
        return self.outcome is CheckOutcome.PASS

    @property
    def total(self) -> int:
        """The number of photos and frames, with those that cannot be used."""
        return self.photos + sum(count for _, count in self.unused)

    def to_dict(self) -> dict[str, Any]:
        """Return an audit record for JSON. It holds no picture and no landmarks."""
        return {
            "format": FORMAT,
            "time": self.time.isoformat(timespec="milliseconds"),
            "outcome": self.outcome.value,
            "reason": self.reason,
            "age": self.age,
            "interval": self.interval and [round(end, DIGITS) for end in self.interval],
            "level": self.level,
            "probability": None if self.probability is None else round(self.probability, 4),
            "quality": None if self.quality is None else finite_numbers(self.quality.to_dict()),
            "findings": [found.to_dict() for found in self.findings],
            "liveness": self.liveness,
            "photos": self.photos,
            "unused": dict(self.unused),
            "policy": self.policy.to_dict(),
            "limits": {reason.name: reason.limit for reason in REASONS},
            "model": self.model.to_dict(),
            "halnet": __version__,
        }


def check_faces(
    photos: Iterable[tuple[PhotoView, Sequence[Face]]],
    policy: CheckPolicy,
    spec: RuntimeSpec,
    liveness: Liveness | None = None,
) -> AgeCheck:
    """Return the result of an age check of one person.

    `photos` are photos of the person, or frames of a video, each with all faces in it. The faces
    have their `quality`. `spec` is that of the runtime that predicted their ages.

    A photo can be used if it shows exactly one face, and this face is upright and has no quality
    finding (see `halnet.checks.reasons`). What looks like a face only in a turned photo is often
    none. The age distributions of these photos are averaged, all with the same
    weight. There is no result if fewer than half of the photos that show a face can be used, or if
    more than a tenth of them show several faces (`MIN_USABLE` and `MAX_SEVERAL`). Photos without a
    face do not count: the person may not be there yet. There is no result either if the ages differ
    more than those of one person do (`MAX_SPREAD`). Two people of a similar age are not told apart.

    `liveness` is called with each photo that can be used. If it returns False once, the check ends
    without a result, because a person who holds a picture into the camera does so in some photos
    only.

    Raises ConfigError if there are no photos, if a face has no `quality`, or if `liveness` is not
    callable or returns something else than True or False.
    """
    if not (liveness is None or callable(liveness)):
        raise ConfigError(
            "liveness: expected a callable that takes a photo and returns True or False, found "
            f"{type(liveness).__name__}"
        )
    tally, last = Tally(), ""
    for view, faces in photos:
        last = _add(tally, view, faces, liveness)
        if last == NOT_LIVE:
            break
    if not tally.total:
        raise ConfigError("photos: expected at least one photo of the person, found none")
    check = AgeCheck(
        CheckOutcome.NO_RESULT,
        _describe(NOT_LIVE) if last == NOT_LIVE else _explain(tally),
        policy,
        _find_model(spec),
        quality=tally.quality,
        findings=tuple(tally.findings.values()),
        photos=tally.used,
        unused=tuple(tally.problems.items()),
    )
    if last == NOT_LIVE:
        return replace(check, liveness=False)
    if tally.used and liveness is not None:
        check = replace(check, liveness=True)
    face = tally.face
    return check if check.reason or face is None else _compare(check, face)


def _add(tally: Tally, view: PhotoView, faces: Sequence[Face], liveness: Liveness | None) -> str:
    """Add a photo to the tally, and return why it cannot be used; "" if it can."""
    problems, findings = find_problems(faces)
    problem = PROBLEM_SEPARATOR.join(problems)
    if len(faces) != 1:
        tally.add_without(problem)
        return problem
    (face,) = faces
    assert face.quality is not None
    if not problem and liveness is not None and not _ask(liveness, view.image()):
        problem = NOT_LIVE
    if problem:
        tally.add_unusable(problem, face.quality, findings)
    else:
        tally.add_usable(face, face.quality)
    return problem


def find_problems(faces: Sequence[Face]) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Return why a check cannot use a photo with these faces, and what was found in its face.

    The first part has keys of `SENTENCES`, and is empty if the photo can be used. Raises
    ConfigError if a single face has no `quality`.
    """
    if len(faces) != 1:
        return (SEVERAL_FACES if faces else NO_FACE,), ()
    (face,) = faces
    if face.quality is None:
        raise ConfigError(
            "faces of a check: expected faces with their quality, found one without; predict them "
            "with Predictor(quality=True)"
        )
    findings = find_reasons(face.quality, face)
    turned = (NOT_UPRIGHT,) if face.turned else ()
    return (*turned, *(found.name for found in findings)), findings


def _ask(liveness: Liveness, photo: Image) -> bool:
    """Return the answer of a liveness check. Raises ConfigError unless it is True or False.

    A score would be taken for True, however small it is.
    """
    answer: Any = liveness(photo)
    if not isinstance(answer, bool | np.bool_):
        raise ConfigError(
            "liveness: expected a callable that returns True or False, found that it returned "
            f"{answer!r}; compare a score with its threshold"
        )
    return bool(answer)


def _explain(tally: Tally) -> str:
    """Return why there is no result; "" if there is one."""
    if tally.total == 1:
        return "".join(map(_describe, tally.problems))
    if not tally.used:
        counts = count_text(tally.problems.items())
        return f"None of {tally.total} photos can be used ({counts})."
    shown = tally.total - tally.problems[NO_FACE]
    several = tally.problems[SEVERAL_FACES]
    if several > MAX_SEVERAL * shown:
        return (
            f"Several faces were found in {several} of the {shown} photos with a face. A check is "
            f"of one person alone, and at most {MAX_SEVERAL:.0%} of these photos may show others."
        )
    if tally.used < MIN_USABLE * shown:
        others = (pair for pair in tally.problems.items() if pair[0] != NO_FACE)
        return (
            f"Only {tally.used} of the {shown} photos with a face can be used "
            f"({count_text(others)}). A check needs {MIN_USABLE:.0%} of them."
        )
    if tally.spread > MAX_SPREAD:
        return (
            f"The ages of the {tally.used} photos differ too much: their standard deviation is "
            f"{tally.spread:.1f} years, and at most {MAX_SPREAD:g} are expected of one person. "
            "Perhaps the photos show different people."
        )
    return ""


def _describe(problem: str) -> str:
    """Return a problem in whole sentences."""
    return " ".join(SENTENCES[name] for name in problem.split(PROBLEM_SEPARATOR))


def count_text(counts: Iterable[tuple[str, int]]) -> str:
    """Return problems with their numbers of photos, such as "no face: 2; blurred: 1"."""
    return "; ".join(f"{problem}: {count}" for problem, count in counts)


def _find_model(spec: RuntimeSpec) -> CheckedModel:
    metadata = spec.metadata
    return CheckedModel(
        Path(spec.model).name, metadata.checkpoint_sha256, metadata.precision, spec.runtime
    )


def _compare(check: AgeCheck, face: Face) -> AgeCheck:
    """Return the check with the age of this face, and whether it reaches the challenge age."""
    policy, age = check.policy, round(face.age, DIGITS)
    known = replace(
        check,
        age=age,
        interval=face.interval(check.level),
        probability=face.probability(at_least=policy.legal),
    )
    if age >= policy.challenge:
        return replace(known, outcome=CheckOutcome.PASS)
    return replace(known, outcome=CheckOutcome.REFER, reason=_explain_refer(known))


def _explain_refer(check: AgeCheck) -> str:
    """Return why a person is referred. A person is never said to be a minor."""
    policy = check.policy
    reason = (
        f"The predicted age of {check.age:.{DIGITS}f} years does not reach the challenge age of "
        f"{policy.challenge}. Verify the age in another way."
    )
    if check.probability is not None and check.probability > 0.5:
        return f"The person is probably {policy.legal} or older, but this is not certain. {reason}"
    return reason
