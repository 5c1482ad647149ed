"""The meter of age shifts: how far quantization shifts the ages that a graph gives."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from halnet.calibration.budget import AgeShift, percentile_bound
from halnet.calibration.crops import full_batches
from halnet.calibration.sessions import AgeFunction, Opener, batch_size, open_age_function
from halnet.runtimes.base import Crops

TIMED = 30  # runs of one crop


class AgeShiftMeter:
    """Runs graphs on the same crops and compares their ages with the first's."""

    def __init__(
        self,
        proto: Any,
        crops: Crops,
        labels: Sequence[float] | None = None,
        threads: int | None = None,
        opener: Opener = open_age_function,
    ) -> None:
        """Take the floating-point graph, N x 224 x 224 x 3 uint8 RGB crops and their ages.

        `opener` decides what runs the graphs; default: ONNX Runtime.
        """
        self._crops = crops
        self._labels = None if labels is None else np.asarray(labels, np.float64)
        self._threads = threads
        self._open = opener
        self._batch = batch_size(proto, free=1)
        self._expected = self._run(self._open(proto, threads))

    def __call__(self, proto: Any, timed: bool = False) -> AgeShift:
        """Return how a graph moves the ages; with `timed`, its speed on one crop too."""
        run = self._open(proto, self._threads)
        ages = self._run(run)
        distance = np.abs(ages - self._expected)
        delta = None
        if self._labels is not None:
            delta = float((abs(ages - self._labels) - abs(self._expected - self._labels)).mean())
        return AgeShift(
            float(distance.mean()),
            float(np.percentile(distance, 99)),
            percentile_bound(distance),
            float(distance.max()),
            delta,
            self._time(run) if timed else None,
        )

    def _run(self, run: AgeFunction) -> Any:
        ages = [run(batch)[:count] for batch, count in full_batches(self._crops, self._batch)]
        return np.concatenate(ages).astype(np.float64)

    def _time(self, run: AgeFunction) -> float:
        crop, _ = next(full_batches(self._crops, self._batch))
        times = []
        for _ in range(TIMED + 1):
            start = time.perf_counter()
            run(crop)
            times.append(time.perf_counter() - start)
        return float(np.median(times[1:])) * 1e3
