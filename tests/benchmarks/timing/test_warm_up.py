from collections.abc import Callable, Iterable
from itertools import chain, repeat

import pytest

from halnet.benchmarks.timing.warm_up import WarmUp, warm_up


class Program:
    """Runs whose times are given, in seconds, and the clock that they move."""

    def __init__(self, times: Iterable[float]) -> None:
        self.times = iter(times)
        self.now = 0.0

    def run(self) -> None:
        self.now += next(self.times)

    def clock(self) -> float:
        return self.now


def blocks(*seconds: float) -> Iterable[float]:
    """Return times of ten runs each, and then those of the last block for ever."""
    return chain(*(repeat(value, 10) for value in seconds), repeat(seconds[-1]))


@pytest.mark.parametrize(
    ("times", "least", "expected"),
    [
        (blocks(0.01), 1, WarmUp(20, True)),
        (blocks(0.01), 25, WarmUp(30, True)),
        (blocks(0.02, 0.015, 0.012, 0.0121), 1, WarmUp(40, True)),
        # Below the limit, the last change decides; a change of 4 % is not stable, one of 2 % is.
        (blocks(0.0100, 0.0104, 0.0106), 1, WarmUp(30, True)),
        (blocks(0.01), 0, WarmUp(0, False)),
    ],
)
def test_it_ends_when_two_blocks_take_the_same_time(
    times: Iterable[float], least: int, expected: WarmUp
) -> None:
    program = Program(times)
    assert warm_up(program.run, least, program.clock) == expected


def test_a_single_slow_run_of_a_block_does_not_matter() -> None:
    program = Program(chain([0.01] * 12, [5.0], repeat(0.01)))
    assert warm_up(program.run, 1, program.clock) == WarmUp(20, True)


def test_times_that_never_become_stable_end_after_three_seconds() -> None:
    program = Program(0.001 * 1.5 ** (run // 10) for run in range(1000))
    found = warm_up(program.run, 1, program.clock)
    assert not found.stable
    assert 3 < program.now < 20
    assert found.runs < 1000


def test_the_least_number_of_runs_is_kept_however_long_they_take() -> None:
    program = Program(blocks(1.0, 2.0, 3.0, 4.0, 5.0))
    assert warm_up(program.run, 35, program.clock).runs == 40


def test_a_run_is_called_as_often_as_is_stated() -> None:
    calls: list[int] = []
    run: Callable[[], None] = lambda: calls.append(1)  # noqa: E731
    found = warm_up(run, 5)
    assert len(calls) == found.runs
