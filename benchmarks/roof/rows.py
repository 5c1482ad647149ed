"""The roof: the least time that a model can take on this machine, and how far it is from that.

An inference takes at least as long as its multiply-adds take at the highest rate that this machine
reaches in a matrix product, and at least as long as its weights, crops and outputs take through the
memory. The longer of the two times is the roof (Williams, Waterman and Patterson, "Roofline: an
insightful visual performance model for multicore architectures", CACM 52, 2009).
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import label_model
from halnet.benchmarks.roof.counts import ModelCost, count_costs
from halnet.benchmarks.roof.peaks import Peaks
from halnet.benchmarks.roof.products import FP32
from halnet.benchmarks.samples import sample_crops
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import Runtime, RuntimeOptions

# The precision whose peak counts. On x86, no runtime multiplies in FP16: it converts the weights of
# such a model to FP32. On Arm, ONNX Runtime can, and may then be faster than this roof.
PEAK_OF = {"fp16": FP32}
MS = 1000
COLUMNS = (
    *("model", "multiply-adds, million", "least time by operations, ms"),
    *("least time by memory, ms", "time if no activation stays in a cache, ms"),
    *("measured, ms", "times the least"),
)


@dataclass(frozen=True)
class RoofRow:
    """The time of one inference beside the least that it can take. Times are milliseconds."""

    name: str
    batch: int  # crops in the inference
    threads: int
    multiply_adds: dict[str, int]  # by precision
    moved_bytes: int  # the weights, the crops and the outputs
    # At the measured peak of each precision; None if such a peak could not be measured.
    by_operations: float | None
    # `moved_bytes` through the memory once. Weights that stay in a cache from one inference to the
    # next can be faster.
    by_memory: float | None
    # The same, and each layer reads its input from memory and writes its output there. This is no
    # least time: a cache that holds the activations saves it.
    without_cache: float | None
    measured: float

    @property
    def least(self) -> float | None:
        """The roof: the longer of the two least times; None if one of them is not known."""
        if self.by_operations is None or self.by_memory is None:
            return None
        return max(self.by_operations, self.by_memory)

    @property
    def times_least(self) -> float | None:
        """How many times as long as the least time the inference takes; below 1: see `note`."""
        return None if self.least is None else self.measured / self.least

    @property
    def rate(self) -> float:
        """The operations in a second, a multiply-add being two: the height in a roofline plot."""
        return self._operations / self.measured * MS

    @property
    def intensity(self) -> float:
        """The operations for each byte that is moved: the place along a roofline plot."""
        return self._operations / self.moved_bytes

    @property
    def _operations(self) -> int:
        return 2 * sum(self.multiply_adds.values())

    @property
    def note(self) -> str:
        """A sentence about a time that cannot be, or an empty text."""
        if self.times_least is None or self.times_least >= 1:
            return ""
        return (
            f"{self.name} takes less than the least time: its weights stay in a cache, or the "
            "machine was busy while its peaks were measured; measure them again on a quiet machine"
        )

    @property
    def cells(self) -> list[str]:
        """The row of the table with `COLUMNS`."""
        times = (self.by_operations, self.by_memory, self.without_cache, self.measured)
        return [
            self.name,
            f"{sum(self.multiply_adds.values()) / 1e6:.1f}",
            *("-" if value is None else f"{value:.2f}" for value in times),
            "-" if self.times_least is None else f"{self.times_least:.1f}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        names = ("least", "times_least", "rate", "intensity", "note")
        return asdict(self) | {name: getattr(self, name) for name in names}


def compare_with_roof(
    cost: ModelCost, peaks: Peaks, milliseconds: float, name: str = ""
) -> RoofRow:
    """Return the time of an inference of `cost.batch` crops beside the least that it can take.

    The peaks must be those for the number of threads that the inference had.
    """
    read, copy = (
        None if peak.rate is None else MS / peak.rate for peak in (peaks.read, peaks.copy)
    )
    moved = cost.weight_bytes + cost.end_bytes
    return RoofRow(
        name or cost.model,
        cost.batch,
        peaks.threads,
        cost.multiply_adds,
        moved,
        least_by_operations(cost.multiply_adds, peaks),
        None if read is None else moved * read,
        None if read is None or copy is None else moved * read + cost.activation_bytes * copy,
        milliseconds,
    )


def least_by_operations(multiply_adds: dict[str, int], peaks: Peaks) -> float | None:
    """Return how many milliseconds multiply-adds take at the peak of their precision.

    A multiply-add is two operations. The result is None if a peak that it needs is not known.
    """
    milliseconds = 0.0
    for precision, count in multiply_adds.items():
        rate = peaks.products[PEAK_OF.get(precision, precision)].rate
        if rate is None:
            return None
        milliseconds += 2 * count / rate * MS
    return milliseconds


def measure_rows(
    models: Sequence[Path], options: RuntimeOptions, peaks: Peaks, batch: int, runs: int
) -> list[RoofRow]:
    """Return a row for each model on its runtime: the median time of several inferences.

    Raises what `count_costs` and `open_model` raise.
    """
    rows = []
    for model in models:
        cost = count_costs(model, batch)
        with open_model(model, options) as runtime:
            name = f"{label_model(model)} on {runtime.spec.runtime}"
            rows.append(compare_with_roof(cost, peaks, _time(runtime, cost.batch, runs), name))
    return rows


def _time(runtime: Runtime, batch: int, runs: int) -> float:
    """Return the median milliseconds of an inference, after as many that do not count."""
    samples = sample_crops()
    crops = np.resize(samples, (batch, *samples.shape[1:]))
    times = []
    for _ in range(2 * runs):
        start = time.perf_counter()
        runtime.run(crops)
        times.append(time.perf_counter() - start)
    return float(np.median(times[runs:])) * MS
