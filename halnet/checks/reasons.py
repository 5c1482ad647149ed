"""Reasons: why the age of a face is not judged, each a number with a limit that was measured.

The limits were chosen on the validation parts of the datasets that the bundled model was trained
on, and tested on the test parts (see docs/checks.md). This command prints both:

    python -m halnet.benchmarks.studies.quality_reasons --data data/aaf --data data/utkface \\
        --data data/fairface --data data/afad

Faces that look up, down or to the side and those of which the detector is less sure are not
refused: the validation photos beyond a limit were not certainly worse than others.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from halnet.faces.quality import Quality
from halnet.results import Face


@dataclass(frozen=True)
class Reason:
    """A reason why a face is not judged: a number that is outside of its limits."""

    name: str  # such as "too small"
    describe: str  # a sentence for the person in the photo, with what to do
    number: str  # what the number is, with its unit
    value: Callable[[Quality, Face], float]
    low: float = -math.inf  # the lowest number that is accepted
    high: float = math.inf  # the highest one

    @property
    def limit(self) -> float:
        """The limit, in the unit of the number. Each reason has one: the lowest or the highest."""
        return self.low if math.isfinite(self.low) else self.high

    def find(self, quality: Quality, face: Face) -> "Finding | None":
        """Return what was found, or None if the number is within the limits.

        A number that is NaN is outside. Raises ConfigError for "uncertain" if the model is not
        calibrated for intervals of 90 %.
        """
        value = self.value(quality, face)
        if self.low <= value <= self.high:
            return None
        return Finding(self.name, value, self.limit)


@dataclass(frozen=True)
class Finding:
    """A number of a face that is outside of its limit."""

    name: str  # of the reason
    value: float
    limit: float  # in the unit of the value

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON, rounded to four digits after the point; None in place of NaN."""
        value = round(self.value, 4) if math.isfinite(self.value) else None
        return {"name": self.name, "value": value, "limit": self.limit}


def interval_width(quality: Quality, face: Face) -> float:
    """Return the width of the 90 % interval of a face in years."""
    low, high = face.interval(0.9)
    return high - low


REASONS: tuple[Reason, ...] = (
    Reason(
        "too small",
        "The face is too small in the photo; come closer to the camera.",
        "distance of the eyes, pixels",
        lambda quality, face: quality.eye_distance,
        low=10.0,  # for smaller faces, the landmarks of the detector were not measured
    ),
    Reason(
        "blurred",
        "The face is blurred; hold the camera still and clean its lens.",
        "sharpness",
        lambda quality, face: quality.sharpness,
        low=0.138,
    ),
    Reason(
        "too dark",
        "The face is too dark; turn it to the light.",
        "brightness, 0 to 255",
        lambda quality, face: quality.brightness,
        low=21.8,
    ),
    Reason(
        "too bright",
        "The face is too bright; avoid strong light on it.",
        "brightness, 0 to 255",
        lambda quality, face: quality.brightness,
        high=234.0,
    ),
    Reason(
        "cut off",
        "The face is partly outside of the photo; move into its middle.",
        "share of the face inside the photo",
        lambda quality, face: quality.inside,
        low=0.52,
    ),
    Reason(
        "uncertain",
        "The model is uncertain about the age of this face; take another photo.",
        "width of the 90 % interval, years",
        interval_width,
        high=36.4,
    ),
)


def find_reasons(quality: Quality, face: Face) -> tuple[Finding, ...]:
    """Return why a face is not judged, in the order of `REASONS`; empty if there is no reason.

    `quality` has the numbers of this face (see `halnet.faces.quality.measure_quality`). Raises
    ConfigError if the model of the face is not calibrated for intervals of 90 %.
    """
    found = (reason.find(quality, face) for reason in REASONS)
    return tuple(finding for finding in found if finding is not None)
