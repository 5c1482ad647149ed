"""Results: what a runtime returns for crops, and what the predictor returns for faces."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import LEVEL, AgeCalibration, Floats, mean_and_stddev
from halnet.faces.alignment import Landmarks
from halnet.faces.quality import Quality

FORMAT = 2  # version of the results in files; those of version 1 do not state it


def finite_numbers(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Return numbers for JSON, which has no NaN and no infinity: None in place of them."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


@dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs of a model for N crops. Every runtime returns them."""

    age: NDArray[np.float32]  # N, years
    stddev: NDArray[np.float32]  # N, years
    probabilities: NDArray[np.float32]  # N x 101, one for each year from 0 to 100

    def __len__(self) -> int:
        return len(self.age)


def join_outputs(parts: Sequence[Outputs], count: int | None = None) -> Outputs:
    """Return the outputs of successive batches as one; with `count`, only the first ones."""
    return Outputs(
        np.concatenate([part.age for part in parts])[:count],
        np.concatenate([part.stddev for part in parts])[:count],
        np.concatenate([part.probabilities for part in parts])[:count],
    )


def average_outputs(first: Outputs, second: Outputs) -> Outputs:
    """Return the outputs for the mean of the two distributions of each crop."""
    probabilities = (first.probabilities + second.probabilities) / np.float32(2)
    age, stddev = mean_and_stddev(probabilities)
    return Outputs(age.astype(np.float32), stddev.astype(np.float32), probabilities)


@dataclass(frozen=True, eq=False)
class Ages(Outputs):
    """The ages of N crops, with the calibration of the model."""

    calibration: AgeCalibration

    def interval(self, level: float = LEVEL) -> tuple[Floats, Floats]:
        """Return (low, high), N float64 values each, in years.

        The share `level` of such intervals contains the true age. Raises ConfigError for a level
        that the model is not calibrated for.
        """
        return self.calibration.interval(self.age, self.stddev, level)

    def probability(self, *, at_least: int) -> Floats:
        """Return N float64 probabilities that the age is `at_least` years or more.

        Raises ConfigError unless `at_least` is between 0 and 100.
        """
        return self.calibration.probability_at_least(self.probabilities, at_least)


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a photo with its age."""

    age: float  # years
    stddev: float  # years, of the raw distribution
    probabilities: NDArray[np.float32]  # 101, one for each year from 0 to 100
    box: tuple[float, float, float, float]  # x, y, width, height in pixels of the upright photo
    landmarks: Landmarks  # 5 x 2, x and y in pixels, in the order of alignment.TEMPLATE
    score: float  # confidence of the detection, from 0 to 1
    calibration: AgeCalibration
    turned: int = 0  # degrees by which the face is turned clockwise; 0 if it is nearly upright
    quality: Quality | None = None  # how well the face can be judged; None: not measured
    track: int | None = None  # number of the person in a video; None: faces are not followed

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return (low, high) in years.

        The share `level` of such intervals contains the true age. Raises ConfigError for a level
        that the model is not calibrated for.
        """
        low, high = self.calibration.interval(self.age, self.stddev, level)
        return float(low), float(high)

    def probability(self, *, at_least: int) -> float:
        """Return the probability that the age is `at_least` years or more.

        Raises ConfigError unless `at_least` is between 0 and 100.
        """
        return float(self.calibration.probability_at_least(self.probabilities, at_least))

    def to_dict(self, level: float = LEVEL) -> dict[str, Any]:
        """Return JSON-ready values, with years rounded to two digits and pixels to one."""
        low, high = self.interval(level)
        return {
            "age": round(self.age, 2),
            "stddev": round(self.stddev, 2),
            "interval": [round(low, 2), round(high, 2)],
            "level": level,
            "box": [round(value, 1) for value in self.box],
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in self.landmarks],
            "score": round(self.score, 4),
            "turned": self.turned,
            "quality": None if self.quality is None else finite_numbers(self.quality.to_dict()),
            "track": self.track,
        }
