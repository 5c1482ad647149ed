"""Tally: what the photos of one check show, of which only counts and sums are kept.

The memory of a check therefore does not grow with the number of frames of a video.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np

from halnet.ages import N_AGES, Floats, mean_and_stddev
from halnet.checks.reasons import Finding
from halnet.faces.quality import Quality
from halnet.results import Face


class Tally:
    """Counts and sums over the photos of one person."""

    def __init__(self) -> None:
        self.used = 0  # number of photos that can be used
        self.problems: Counter[str] = Counter()  # why others cannot, and how many of them
        self.findings: dict[str, Finding] = {}  # the first one of each name
        self._first: Face | None = None  # of the photos that can be used
        self._probabilities: Floats = np.zeros(N_AGES)  # sum over the photos that can be used
        self._ages = self._squares = 0.0  # sums over them, years and squared years
        self._good, self._bad = _MeanQuality(), _MeanQuality()

    @property
    def total(self) -> int:
        """The number of photos."""
        return self.used + self.problems.total()

    @property
    def spread(self) -> float:
        """The standard deviation of the ages of the photos that can be used, in years."""
        mean = self._ages / self.used
        return math.sqrt(max(0.0, self._squares / self.used - mean**2))

    @property
    def quality(self) -> Quality | None:
        """The mean of each number over the photos that can be used.

        If there are none, it is that over the photos with exactly one face; None without any.
        """
        return (self._good if self.used else self._bad).value

    @property
    def face(self) -> Face | None:
        """The first face that can be used, with the mean of all age distributions, or None."""
        if self._first is None or self.used == 1:
            return self._first
        mean = self._probabilities / self.used
        age, stddev = mean_and_stddev(mean[None])
        return replace(
            self._first,
            age=float(age[0]),
            stddev=float(stddev[0]),
            probabilities=mean.astype(np.float32),
        )

    def add_without(self, problem: str) -> None:
        """Count a photo that does not show exactly one face."""
        self.problems[problem] += 1

    def add_unusable(self, problem: str, quality: Quality, findings: Sequence[Finding]) -> None:
        """Count a photo with one face that cannot be used."""
        self.problems[problem] += 1
        self._bad.add(quality)
        for found in findings:
            self.findings.setdefault(found.name, found)

    def add_usable(self, face: Face, quality: Quality) -> None:
        """Count a photo that can be used."""
        self.used += 1
        self._good.add(quality)
        self._first = self._first or face
        self._probabilities += face.probabilities
        self._ages += face.age
        self._squares += face.age**2


class _MeanQuality:
    """The mean of each number of several faces."""

    def __init__(self) -> None:
        self._first: Quality | None = None
        self._sum: Floats = np.zeros(0)
        self._count = 0

    def add(self, quality: Quality) -> None:
        numbers = np.array(astuple(quality), np.float64)
        self._sum = numbers if self._first is None else self._sum + numbers
        self._first = self._first or quality
        self._count += 1

    @property
    def value(self) -> Quality | None:
        if self._first is None:
            return None
        return type(self._first)(*(self._sum / self._count).tolist())
