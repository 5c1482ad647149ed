"""Judging: how far the ages of a peer are from the true ages, and how long they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import LEGAL_AGE, Floats
from halnet.benchmarks.peers.answers import Answer, Box, FoundFace
from halnet.datasets.record import Record
from halnet.evaluation.rates import MIN_PHOTOS, Rate
from halnet.evaluation.scores import bootstrap_mean


@dataclass(frozen=True)
class Errors:
    """Errors on some photos. Without photos, the MAE and the bias are NaN."""

    count: int  # number of photos
    mae: float  # years
    mae_interval: tuple[float, float] | None  # bootstrap 95 % interval, years; None: too few photos
    bias: float  # years; above 0, people are predicted too old
    minors_as_adults: Rate  # photos of people under 18 whose predicted age is 18 or more

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values. Without photos, the MAE and the bias are None."""
        return {
            "photos": self.count,
            "mae": self.mae if self.count else None,
            "mae_interval": self.mae_interval,
            "bias": self.bias if self.count else None,
            "minors_as_adults": self.minors_as_adults.to_dict(),
        }


@dataclass(frozen=True)
class Judgement:
    """What one peer has achieved on the photos of one dataset."""

    photos: int  # number of all photos
    errors: int  # number of photos for which the peer had an error instead of an answer
    found: Errors  # on the photos where the peer has found the face
    common: Errors  # on the photos where every peer has found the face
    milliseconds: float | None  # median time of a photo; None: it had errors only

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "photos": self.photos,
            "errors": self.errors,
            "found": self.found.to_dict(),
            "common": self.common.to_dict(),
            "milliseconds": self.milliseconds,
        }


def judge(
    answers: Mapping[str, Sequence[Answer]], records: Sequence[Record]
) -> dict[str, Judgement]:
    """Return the judgement of each peer. All of them have answered for the photos of `records`.

    Raises DatasetError if the label of a photo is a range of ages.
    """
    truth = np.array([record.age for record in records], np.float64)
    ages = {name: find_ages(given, records) for name, given in answers.items()}
    common = np.logical_and.reduce([~np.isnan(found) for found in ages.values()])
    return {
        name: Judgement(
            photos=len(records),
            errors=sum(bool(answer.error) for answer in given),
            found=_errors(ages[name], truth, ~np.isnan(ages[name])),
            common=_errors(ages[name], truth, common),
            milliseconds=_median([1000 * a.seconds for a in given if a.seconds is not None]),
        )
        for name, given in answers.items()
    }


def find_ages(answers: Sequence[Answer], records: Sequence[Record]) -> Floats:
    """Return N predicted ages in years; NaN where a peer has not found the face of the index."""
    faces = [find_face(*pair) for pair in zip(answers, records, strict=True)]
    return np.array([np.nan if face is None else face.age for face in faces], np.float64)


def find_face(answer: Answer, record: Record) -> FoundFace | None:
    """Return the face of the index: that whose box contains the centre of its five landmarks.

    If several boxes do, the one with the nearest centre counts. None: no box does.
    """
    x, y = map(float, np.reshape(record.landmarks, (-1, 2)).mean(axis=0))

    def distance(face: FoundFace) -> float:
        left, top, width, height = face.box
        return float(np.hypot(left + width / 2 - x, top + height / 2 - y))

    matching = [face for face in answer.faces if _contains(face.box, x, y)]
    return min(matching, key=distance, default=None)


def _contains(box: Box, x: float, y: float) -> bool:
    left, top, width, height = box
    return left <= x <= left + width and top <= y <= top + height


def _errors(ages: Floats, truth: Floats, chosen: NDArray[np.bool_]) -> Errors:
    error = (ages - truth)[chosen]
    count = len(error)
    minors = ages[chosen & (truth < LEGAL_AGE)]
    return Errors(
        count=count,
        mae=float(np.abs(error).mean()) if count else np.nan,
        mae_interval=bootstrap_mean(np.abs(error)) if count >= MIN_PHOTOS else None,
        bias=float(error.mean()) if count else np.nan,
        minors_as_adults=Rate(int((minors >= LEGAL_AGE).sum()), len(minors)),
    )


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
