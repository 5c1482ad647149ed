"""Warm-up: runs before the timed ones, until their times no longer change."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

BLOCK = 10  # runs of which medians are compared
MAX_CHANGE = 0.03  # of the median of a block to the next one: below it, times are stable
SECONDS = 3.0  # after which times that are still not stable are taken as they are


@dataclass(frozen=True)
class WarmUp:
    """How a candidate was warmed up."""

    runs: int
    stable: bool  # whether the last two blocks of runs took nearly the same time


def warm_up(
    run: Callable[[], object], least: int, clock: Callable[[], float] = time.perf_counter
) -> WarmUp:
    """Call `run` in blocks of `BLOCK` until the medians of two blocks in turn are nearly the same.

    It is called at least `least` times, and no longer than about `SECONDS`. For `least` of 0, it is
    not called at all.
    """
    if not least:
        return WarmUp(0, False)
    start = clock()
    medians: list[float] = []
    stable = False
    while not stable or len(medians) * BLOCK < least:
        if clock() - start > SECONDS and len(medians) * BLOCK >= least:
            break
        medians.append(_time_block(run, clock))
        if len(medians) > 1:
            stable = abs(medians[-1] - medians[-2]) <= MAX_CHANGE * medians[-2]
    return WarmUp(len(medians) * BLOCK, stable)


def _time_block(run: Callable[[], object], clock: Callable[[], float]) -> float:
    times = []
    for _ in range(BLOCK):
        start = clock()
        run()
        times.append(clock() - start)
    return median(times)
