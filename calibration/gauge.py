"""Gauge: how far a quantized graph moves ages from the floating-point graph it was made from."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME
from halnet.calibration.budget import Movement
from halnet.calibration.samples import full_batches
from halnet.calibration.sessions import batch_size, open_session
from halnet.runtimes import Crops

TIMED = 30  # runs of one crop


class Gauge:
    """Runs graphs in ONNX Runtime on the same crops and compares their ages with the first's."""

    def __init__(
        self,
        proto: Any,
        crops: Crops,
        labels: Sequence[float] | None = None,
        threads: int | None = None,
    ) -> None:
        """Take the floating-point graph, N x 224 x 224 x 3 uint8 RGB crops and their ages."""
        self._crops = crops
        self._labels = None if labels is None else np.asarray(labels, np.float64)
        self._threads = threads
        self._batch = batch_size(proto, free=1)
        self._expected = self._ages(open_session(proto, threads))

    def __call__(self, proto: Any, timed: bool = False) -> Movement:
        """Return how a graph moves the ages; with `timed`, its speed on one crop too."""
        session = open_session(proto, self._threads)
        ages = self._ages(session)
        distance = np.abs(ages - self._expected)
        delta = None
        if self._labels is not None:
            delta = float((abs(ages - self._labels) - abs(self._expected - self._labels)).mean())
        return Movement(
            float(distance.mean()),
            float(np.percentile(distance, 99)),
            float(distance.max()),
            delta,
            self._time(session) if timed else None,
        )

    def _ages(self, session: Any) -> Any:
        ages = [
            session.run(["age"], {INPUT_NAME: batch})[0][:count]
            for batch, count in full_batches(self._crops, self._batch)
        ]
        return np.concatenate(ages).astype(np.float64)

    def _time(self, session: Any) -> float:
        crop, _ = next(full_batches(self._crops, self._batch))
        times = []
        for _ in range(TIMED + 1):
            start = time.perf_counter()
            session.run(["age"], {INPUT_NAME: crop})
            times.append(time.perf_counter() - start)
        return float(np.median(times[1:])) * 1e3
