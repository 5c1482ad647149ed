"""Peaks of the roof: how fast this machine multiplies matrices and reads memory, as measured.

Each peak states what it was measured by. What cannot be measured here has a reason instead.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from halnet.benchmarks.roof.products import (
    FP32,
    PRECISIONS,
    UnmeasuredError,
    Way,
    multiply_by_numpy,
    multiply_by_onnxruntime,
    multiply_by_openvino,
    shortest,
    timed,
)
from halnet.cores import thread_count

SIDES = (256, 512, 1024)  # rows and columns of the matrices; the fastest of them counts
SECONDS = 0.3  # for which each product, and each way through the memory, is repeated
MEMORY = 256 << 20  # bytes that are read; more than caches hold
GIGA = 1e9


@dataclass(frozen=True)
class Peak:
    """The highest rate that was measured, or the reason why there is none."""

    name: str
    rate: float | None  # operations or bytes in a second; a multiply-add is two operations
    by: str  # what it was measured by; without a rate, why it was not


@dataclass(frozen=True)
class Peaks:
    """What this machine can do at most with a number of threads."""

    threads: int
    products: dict[str, Peak]  # by precision, one of PRECISIONS
    read: Peak  # of memory; each byte counts once
    copy: Peak  # each byte counts twice, because it is read and written

    @property
    def columns(self) -> tuple[str, ...]:
        """The heads of the table."""
        return ("peak of this machine", "measured", "unit", "by")

    @property
    def rows(self) -> list[list[str]]:
        """The table, with one row for each peak. Without a rate, the last cell is the reason."""
        units = {**dict.fromkeys(self.products, "GOP/s"), "read": "GB/s", "copy": "GB/s"}
        peaks = self.products | {"read": self.read, "copy": self.copy}
        return [
            [
                peak.name,
                "-" if peak.rate is None else f"{peak.rate / GIGA:.1f}",
                units[key],
                peak.by,
            ]
            for key, peak in peaks.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def measure_peaks(threads: int | None = None, seconds: float = SECONDS) -> Peaks:
    """Measure all peaks with a number of threads; None: one for each usable core.

    Each measurement takes about `seconds`, and with two runtimes there are 17 of them. A busy
    machine lowers the peaks, although the shortest run of each counts.
    """
    count = thread_count(threads)
    products = {precision: _measure_product(precision, count, seconds) for precision in PRECISIONS}
    return Peaks(count, products, *_measure_memory(count, seconds))


def _measure_product(precision: str, threads: int, seconds: float) -> Peak:
    """Return the fastest product of all runtimes; numpy's is the last resort.

    The number of threads of numpy's library cannot be set here, and variables of the environment
    may choose slow instructions for it.
    """
    name = f"matrix product {precision.upper()}"
    found, reasons = [], []
    for way in (multiply_by_openvino, multiply_by_onnxruntime):
        try:
            found += [_fastest(way, precision, side, threads, seconds) for side in SIDES]
        except UnmeasuredError as error:
            reasons.append(str(error))
    if not found and precision == FP32:
        found = [_fastest(multiply_by_numpy, precision, side, threads, seconds) for side in SIDES]
    if not found:
        return Peak(name, None, "; ".join(reasons))
    rate, by = max(found)
    return Peak(name, rate, by)


def _fastest(
    way: Way,
    precision: str,
    side: int,
    threads: int,
    seconds: float,
) -> tuple[float, str]:
    """Return the highest rate of a way in operations a second, and what it was measured by."""
    multiply, by = way(precision, side, threads)
    return 2 * side**3 / shortest(multiply, seconds), f"{by}, {side} x {side}"


def _measure_memory(threads: int, seconds: float) -> tuple[Peak, Peak]:
    """Return how fast several threads read memory, and how fast they copy it."""
    by = f"numpy {np.__version__}, {MEMORY >> 20} MiB, divided among the threads"
    names = ("memory, reading", "memory, copying")
    try:
        numbers = np.ones(MEMORY // 4, np.float32)
    except MemoryError:
        reason = f"there are no {MEMORY >> 20} MiB of free memory"
        return Peak(names[0], None, reason), Peak(names[1], None, reason)
    halves = (np.array_split(half, threads) for half in np.split(numbers, 2))
    with ThreadPoolExecutor(threads) as pool:
        reading = partial(_run_all, pool, np.max, np.array_split(numbers, threads))
        pairs = list(zip(*halves, strict=True))
        copying = partial(_run_all, pool, lambda pair: np.copyto(*pair), pairs)
        read, copied = (
            Peak(name, numbers.nbytes / shortest(timed(work), seconds), by)
            for name, work in zip(names, (reading, copying), strict=True)
        )
    return read, copied


def _run_all(pool: ThreadPoolExecutor, work: Callable[[Any], object], parts: Sequence[Any]) -> None:
    """Do the work on each part in threads, and wait for all."""
    for _ in pool.map(work, parts):
        pass
