"""A runtime without a model, for tests of programs that use the predictor.

The age of a crop is its mean brightness, scaled to 0 to 100 years. Different crops therefore have
different, predictable ages. The distribution is a Gaussian around it with a standard deviation of 5
years.
"""

from pathlib import Path

import numpy as np

from halnet.ages import AGES, AgeCalibration, mean_and_stddev
from halnet.artifact import Metadata, TrainedSet
from halnet.errors import RuntimeUnavailableError
from halnet.results import Outputs
from halnet.runtimes.base import Crops, RuntimeBase, RuntimeOptions, RuntimeSpec

STDDEV = 5.0  # years


class FakeRuntime(RuntimeBase):
    """A runtime that computes ages from brightness and reads no model file."""

    def __init__(
        self, model: str | Path = "fake", options: RuntimeOptions = RuntimeOptions()
    ) -> None:
        super().__init__(model, options)

    def _open(self, model: str | Path, options: RuntimeOptions) -> None:
        if options.device not in ("auto", "cpu"):
            raise RuntimeUnavailableError(
                f"runtime fake: expected device cpu, found {options.device}"
            )
        del model  # it is not needed
        metadata = Metadata(
            calibration=AgeCalibration(1.0, tuple(percent / 50 for percent in range(1, 100))),
            datasets=(TrainedSet("none"),),
        )
        self.spec = RuntimeSpec(
            "fake", "1", "cpu", options.threads or 1, "fake", metadata, mode=options.mode
        )

    def _after_fork(self) -> None:
        """Nothing is lost in a forked process."""

    def _infer(self, crops: Crops) -> Outputs:
        """Return a Gaussian around the scaled brightness of each crop."""
        centre = crops.mean(axis=(1, 2, 3)) / 255 * 100
        weights = np.exp(-((AGES - centre[:, None]) ** 2) / (2 * STDDEV**2))
        probabilities = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        age, stddev = mean_and_stddev(probabilities)
        return Outputs(age.astype(np.float32), stddev.astype(np.float32), probabilities)


def devices() -> list[str]:
    """Return the devices of this runtime, ["cpu"]."""
    return ["cpu"]
