"""Results: what a runtime returns for crops, and what the predictor returns for faces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import AgeCalibration, Floats, summarise
from halnet.alignment import Landmarks


@dataclass(frozen=True, eq=False)
class Outputs:
    """What every runtime returns for N crops, by the artifact contract."""

    age: NDArray[np.float32]  # N, years
    stddev: NDArray[np.float32]  # N, years
    probabilities: NDArray[np.float32]  # N x 101, one a year from 0 to 100

    def __len__(self) -> int:
        return len(self.age)


def join_outputs(parts: Sequence[Outputs], count: int | None = None) -> Outputs:
    """Return the outputs of successive batches as one, or the first `count` of them."""
    return Outputs(
        np.concatenate([part.age for part in parts])[:count],
        np.concatenate([part.stddev for part in parts])[:count],
        np.concatenate([part.probabilities for part in parts])[:count],
    )


def average_outputs(first: Outputs, second: Outputs) -> Outputs:
    """Return the outputs of the mean of two distributions, such as a crop's and its mirror's."""
    probabilities = (first.probabilities + second.probabilities) / np.float32(2)
    age, stddev = summarise(probabilities)
    return Outputs(age.astype(np.float32), stddev.astype(np.float32), probabilities)


@dataclass(frozen=True, eq=False)
class Ages(Outputs):
    """Outputs for N crops together with the model's calibration."""

    calibration: AgeCalibration

    def interval(self, level: float = 0.9) -> tuple[Floats, Floats]:
        """Return N low and N high ends, in years, that hold the true age at the rate `level`."""
        return self.calibration.interval(self.age, self.stddev, level)

    def probability(self, *, at_least: int) -> Floats:
        """Return N probabilities that the age is `at_least` years or more."""
        return self.calibration.probability_at_least(self.probabilities, at_least)


@dataclass(frozen=True, eq=False)
class Face:
    """One face of a photo with its age."""

    age: float  # years
    stddev: float  # years, of the raw distribution
    probabilities: NDArray[np.float32]  # 101, one a year from 0 to 100
    box: tuple[float, float, float, float]  # x, y, width, height in pixels of the upright photo
    landmarks: Landmarks  # 5 x 2, x and y in pixels, order of alignment.TEMPLATE
    score: float  # confidence of the detection, 0 to 1
    calibration: AgeCalibration

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Return (low, high) in years that hold the true age at the rate `level`."""
        low, high = self.calibration.interval(self.age, self.stddev, level)
        return float(low), float(high)

    def probability(self, *, at_least: int) -> float:
        """Return the probability that the age is `at_least` years or more."""
        return float(self.calibration.probability_at_least(self.probabilities, at_least))

    def to_dict(self, level: float = 0.9) -> dict[str, Any]:
        """Return the face as JSON-ready values: years and pixels, rounded to what they carry."""
        low, high = self.interval(level)
        return {
            "age": round(self.age, 2),
            "stddev": round(self.stddev, 2),
            "interval": [round(low, 2), round(high, 2)],
            "level": level,
            "box": [round(value, 1) for value in self.box],
            "landmarks": [[round(float(x), 1), round(float(y), 1)] for x, y in self.landmarks],
            "score": round(self.score, 4),
        }
