"""Age check: from the faces of one person's photos to pass, refer or no result.

A check never says that a person is a minor. It says that the person looks clearly old enough
("pass"), that the age has to be verified in another way ("refer"), or that the photo cannot be
judged ("no_result").
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np

from halnet.ages import LEVEL, mean_and_stddev
from halnet.checks.policy import CheckPolicy
from halnet.checks.quality import Quality, measure_quality
from halnet.checks.reasons import REASONS, Finding, find_reasons
from halnet.errors import ConfigError
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import Image
from halnet.results import Face
from halnet.runtimes.base import RuntimeSpec

FORMAT = 1  # version of the audit record
DIGITS = 2  # of a predicted age that is compared with the challenge age, as of `minor_errors`
NO_FACE = "no face"
SEVERAL_FACES = "several faces"
NOT_LIVE = "not live"  # the liveness check does not confirm a living person
SENTENCES = {
    NO_FACE: "No face was found.",
    SEVERAL_FACES: "Several faces were found, and a check is of one person alone.",
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
    were used, or over those with exactly one face if none was used.
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
    findings: tuple[Finding, ...] = ()  # of the photos that were not used; the first of each name
    liveness: bool | Literal["not run"] = "not run"  # the answer for all photos that were used
    photos: int = 0  # number of photos that were used
    unused: tuple[tuple[str, int], ...] = ()  # why others were not used, and how many of them
    time: datetime = field(default_factory=lambda: datetime.now(UTC))  # in UTC

    @property
    def passed(self) -> bool:
        """Whether the person passes."""
        return self.outcome is CheckOutcome.PASS

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
            "quality": None if self.quality is None else _finite(self.quality.to_dict()),
            "findings": [found.to_dict() for found in self.findings],
            "liveness": self.liveness,
            "photos": self.photos,
            "unused": dict(self.unused),
            "policy": self.policy.to_dict(),
            "model": self.model.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class _JudgedPhoto:
    """What was found in one photo."""

    face: Face | None = None  # None: no face, or several
    quality: Quality | None = None  # of this face
    findings: tuple[Finding, ...] = ()
    problems: tuple[str, ...] = ()  # why the photo cannot be used, keys of SENTENCES

    @property
    def problem(self) -> str:
        """All problems, by which photos are counted; "" if the photo can be used."""
        return ", ".join(self.problems)


def check_faces(
    photos: Iterable[tuple[PhotoView, Sequence[Face]]],
    policy: CheckPolicy,
    spec: RuntimeSpec,
    liveness: Liveness | None = None,
) -> AgeCheck:
    """Return the result of an age check of one person.

    `photos` are photos of the person, each with all faces in it; `spec` is that of the runtime that
    predicted their ages. A photo is used if it shows exactly one face and this face has no quality
    finding (see `halnet.checks.reasons`). The age distributions of the photos that are used are
    averaged, all with the same weight. Whether all photos show the same person is not checked.

    `liveness` is called with each photo that can be used. If it returns False once, the check ends
    without a result, because a person who holds a picture into the camera does so in some photos
    only.

    Raises ConfigError if there are no photos, or if `liveness` is not callable or returns something
    else than True or False.
    """
    if not (liveness is None or callable(liveness)):
        raise ConfigError(
            "liveness: expected a callable that takes a photo and returns True or False, found "
            f"{type(liveness).__name__}"
        )
    judged: list[_JudgedPhoto] = []
    for view, faces in photos:
        judged.append(_judge(view, faces, liveness))
        if judged[-1].problem == NOT_LIVE:
            break
    if not judged:
        raise ConfigError("photos: expected at least one photo of the person, found none")
    used = [photo for photo in judged if not photo.problem]
    unused = [photo for photo in judged if photo.problem]
    common = AgeCheck(
        CheckOutcome.NO_RESULT,
        _explain(unused),
        policy,
        _find_model(spec),
        quality=_mean_quality(used or judged),
        findings=_first_findings(unused),
        unused=tuple(Counter(photo.problem for photo in unused).items()),
    )
    if unused and unused[-1].problem == NOT_LIVE:
        return replace(common, liveness=False)
    if not used:
        return common
    return _compare(
        replace(common, photos=len(used), liveness="not run" if liveness is None else True),
        [photo.face for photo in used if photo.face is not None],
    )


def _judge(view: PhotoView, faces: Sequence[Face], liveness: Liveness | None) -> _JudgedPhoto:
    """Return what was found in one photo."""
    if len(faces) != 1:
        return _JudgedPhoto(problems=(SEVERAL_FACES if faces else NO_FACE,))
    (face,) = faces
    crop = view.crops([face.landmarks])[0]
    quality = measure_quality(crop, face.landmarks, view.size, face.score)
    findings = tuple(find_reasons(quality, face))
    problems = tuple(found.name for found in findings)
    if not findings and liveness is not None and not _ask(liveness, view.image()):
        problems = (NOT_LIVE,)
    return _JudgedPhoto(face, quality, findings, problems)


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


def _explain(unused: Sequence[_JudgedPhoto]) -> str:
    """Return why there is no result, for the photos that cannot be used."""
    if not unused:
        return ""
    last = unused[-1]
    if len(unused) == 1 or last.problem == NOT_LIVE:
        return " ".join(SENTENCES[problem] for problem in last.problems)
    counts = Counter(photo.problem for photo in unused)
    text = "; ".join(f"{problem}: {count}" for problem, count in counts.items())
    return f"None of {len(unused)} photos can be used ({text})."


def _first_findings(photos: Sequence[_JudgedPhoto]) -> tuple[Finding, ...]:
    """Return the first finding of each name."""
    first: dict[str, Finding] = {}
    for photo in photos:
        for found in photo.findings:
            first.setdefault(found.name, found)
    return tuple(first.values())


def _finite(numbers: dict[str, float]) -> dict[str, float | None]:
    """Return numbers for JSON, which has no NaN and no infinity: None in place of them."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _mean_quality(photos: Sequence[_JudgedPhoto]) -> Quality | None:
    """Return the mean of each number over the photos that have a quality; None if none has one."""
    found = [photo.quality for photo in photos if photo.quality is not None]
    if len(found) < 2:
        return found[0] if found else None
    names = [entry.name for entry in fields(found[0])]
    means = {name: float(np.mean([getattr(part, name) for part in found])) for name in names}
    return replace(found[0], **means)


def _find_model(spec: RuntimeSpec) -> CheckedModel:
    metadata = spec.metadata
    return CheckedModel(
        Path(spec.model).name, metadata.checkpoint_sha256, metadata.precision, spec.runtime
    )


def _compare(common: AgeCheck, faces: Sequence[Face]) -> AgeCheck:
    """Return the check with the age of these faces, and whether it reaches the challenge age."""
    face, policy = _average(faces), common.policy
    age = round(face.age, DIGITS)
    known = replace(
        common,
        age=age,
        interval=face.interval(common.level),
        probability=face.probability(at_least=policy.legal),
    )
    if age >= policy.challenge:
        return replace(known, outcome=CheckOutcome.PASS, reason="")
    return replace(
        known,
        outcome=CheckOutcome.REFER,
        reason=f"The predicted age of {age:.{DIGITS}f} years does not reach the challenge age of "
        f"{policy.challenge}: it is too close to the legal age of {policy.legal}, or below it. "
        "Verify the age in another way.",
    )


def _average(faces: Sequence[Face]) -> Face:
    """Return the first face with the mean of the age distributions of all faces."""
    if len(faces) == 1:
        return faces[0]
    mean = np.asarray([face.probabilities for face in faces], np.float64).mean(0, keepdims=True)
    age, stddev = mean_and_stddev(mean)
    return replace(
        faces[0],
        age=float(age[0]),
        stddev=float(stddev[0]),
        probabilities=mean[0].astype(np.float32),
    )
