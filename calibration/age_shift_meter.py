"""The meter of age shifts: measures how far the ages of a graph are from those of another."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from halnet.calibration.budget import MIN_SET, AgeShift, percentile_bound
from halnet.calibration.crops import full_batches
from halnet.calibration.sessions import AgeFunction, Opener, batch_size, open_age_function
from halnet.datasets.record import Record
from halnet.runtimes.base import Crops

TIMED_RUNS = 30  # each with one batch: one crop, unless the graph has a fixed batch size


class AgeShiftMeter:
    """Runs graphs on the same crops and compares their ages with those of the first graph."""

    def __init__(
        self,
        proto: Any,
        crops: Crops,
        records: Sequence[Record] | None = None,
        threads: int | None = None,
        opener: Opener = open_age_function,
    ) -> None:
        """Run the floating-point graph `proto`, an ONNX model, on `crops`.

        `crops` are N x 224 x 224 x 3 uint8 RGB. `records` have their true ages, or ranges of ages,
        and the names of their datasets; None: not known. `threads` is the number of threads; None:
        one for each core. `opener` returns what runs a graph; by default it uses ONNX Runtime.
        """
        self._crops = crops
        self._records = records
        self._threads = threads
        self._open = opener
        self._batch = batch_size(proto, free=1)
        self._expected = self._run(self._open(proto, threads))

    def __call__(self, proto: Any, timed: bool = False) -> AgeShift:
        """Return how far a graph shifts the ages, and with `timed` its time for one crop."""
        run = self._open(proto, self._threads)
        ages = self._run(run)
        distance = np.abs(ages - self._expected)
        change: Any = None
        if self._records is not None:
            change = _errors(ages, self._records) - _errors(self._expected, self._records)
        return replace(
            _to_shift(distance, change),
            milliseconds=self._time(run) if timed else None,
            by_set={
                name: _to_shift(distance[own], change[own])
                for name, own in self._large_sets().items()
            },
        )

    def _large_sets(self) -> dict[str, Any]:
        """Return the rows of each of several datasets that has enough photos to be judged."""
        names = np.array([record.dataset for record in self._records or ()])
        rows = {name: np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}
        large = {name: own for name, own in rows.items() if len(own) >= MIN_SET}
        return large if len(rows) > 1 else {}

    def _run(self, run: AgeFunction) -> Any:
        """Return the ages of all crops, N float64 years."""
        ages = [run(batch)[:count] for batch, count in full_batches(self._crops, self._batch)]
        return np.concatenate(ages).astype(np.float64)

    def _time(self, run: AgeFunction) -> float:
        """Return the median time of a run in milliseconds; a first run is not counted."""
        crop, _ = next(full_batches(self._crops, self._batch))
        times = []
        for _ in range(TIMED_RUNS + 1):
            start = time.perf_counter()
            run(crop)
            times.append(time.perf_counter() - start)
        return float(np.median(times[1:])) * 1e3


def _errors(ages: Any, records: Sequence[Record]) -> Any:
    """Return the distance of each age to its label, N float64 years: 0 inside a range of ages."""
    low, high = (
        np.array([getattr(record, end) for record in records], np.float64)
        for end in ("age_low", "age_high")
    )
    return np.maximum(np.maximum(low - ages, ages - high), 0)


def _to_shift(distance: Any, change: Any) -> AgeShift:
    """Return the figures of N distances and, where the labels are known, N changes of errors."""
    return AgeShift(
        mean=float(distance.mean()),
        p99=float(np.percentile(distance, 99)),
        p99_bound=percentile_bound(distance),
        maximum=float(distance.max()),
        delta_mae=None if change is None else float(change.mean()),
    )
