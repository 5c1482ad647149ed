from dataclasses import replace

import numpy as np
import pytest

from halnet.benchmarks.timing.speed import TURNS, BenchConfig, bench
from halnet.errors import ConfigError
from halnet.results import Outputs
from halnet.runtimes.base import BatchLimits
from halnet.runtimes.device_clock import DeviceTimes
from halnet.runtimes.fake import FakeRuntime


class Clock:
    """A clock that only the runtimes move, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class TimedRuntime(FakeRuntime):
    """Takes 2 ms for a run, and 50 ms for every tenth; records in a diary whose turn it was."""

    def __init__(self, clock: Clock, diary: list[str], name: str, factor: float = 1.0) -> None:
        super().__init__()
        self.clock, self.diary, self.name, self.factor = clock, diary, name, factor
        self.batches: set[int] = set()

    def run(self, images: np.ndarray) -> Outputs:
        self.diary.append(self.name)
        self.batches.add(len(images))
        slow = self.diary.count(self.name) % 10 == 0
        self.clock.now += self.factor * (0.050 if slow else 0.002)
        return Outputs(*(np.zeros(1, np.float32),) * 3)


def test_every_timed_run_counts() -> None:
    clock, diary = Clock(), []
    runtimes = [TimedRuntime(clock, diary, name) for name in "ab"]
    config = BenchConfig(batch=4, runs=200, warmup=0, seconds=0)
    first, second = bench(runtimes, config, clock)
    assert runtimes[0].batches == {4}
    # 20 turns of one run that does not count and ten that do.
    turns = "".join(diary)
    assert turns == ("a" * 11 + "b" * 11) * TURNS
    # Of these 220 runs, 22 take 50 ms. Two of them, the 100th and the 210th, begin a turn.
    assert first.runs == second.runs == 200
    mean = (180 * 2 + 20 * 50) / 200
    assert first.mean == pytest.approx(mean)
    assert first.frames_per_second == pytest.approx(4 * 1000 / mean)
    assert first.p50 == pytest.approx(2)
    assert first.p99 == pytest.approx(50)
    assert first.variation == pytest.approx(np.std([2] * 9 + [50]) / mean)
    assert first.turns == pytest.approx([2] * TURNS)


def test_a_fast_runtime_runs_until_its_time_is_over_and_a_slow_one_until_its_runs_are() -> None:
    clock, diary = Clock(), []
    fast, slow = TimedRuntime(clock, diary, "a"), TimedRuntime(clock, diary, "b", 100)
    config = BenchConfig(runs=20, warmup=0, seconds=1.0)
    first, second = bench([fast, slow], config, clock)
    assert second.runs == 20
    assert first.runs * first.mean >= 1000, "milliseconds"
    assert first.runs * first.mean < 2000, "no turn is longer than its share and one run"
    assert len(first.turns) == len(second.turns) == TURNS


def test_each_runtime_is_warmed_up_before_the_first_turn() -> None:
    clock, diary = Clock(), []
    runtimes = [TimedRuntime(clock, diary, name) for name in "ab"]
    first, _ = bench(runtimes, BenchConfig(runs=1, warmup=35, seconds=0), clock)
    assert first.warm_up.stable
    assert first.warm_up.runs == 40, "in blocks of ten"
    assert "".join(diary) == "a" * 40 + "b" * 40 + "aabb"


def test_the_clock_of_the_device_is_read_in_each_turn() -> None:
    class OnDevice(FakeRuntime):
        times = iter(DeviceTimes(compute, 2 * compute) for compute in (1.0, 5.0, 2.0))

        def time_on_device(self, images: np.ndarray) -> DeviceTimes:
            return next(self.times)

    config = BenchConfig(runs=3, warmup=0, seconds=0)
    on_device, on_cpu = bench([OnDevice(), FakeRuntime()], config)
    assert on_device.device == DeviceTimes(2.0, 4.0)
    assert on_cpu.device is None
    assert on_device.to_dict()["device"] == {"compute": 2.0, "total": 4.0}


@pytest.mark.parametrize(
    ("limits", "batch", "computed"),
    [
        (BatchLimits(), 3, 3),
        (BatchLimits(8, 8), 1, 8),
        (BatchLimits(8, 8), 8, 8),
        (BatchLimits(8, 8), 9, 16),
        (BatchLimits(1, 4), 9, 9),
        (BatchLimits(2, 4), 5, 6),
    ],
)
def test_a_batch_that_is_filled_up_is_stated(
    limits: BatchLimits, batch: int, computed: int
) -> None:
    """The number is that of the crops which a runtime hands to its library."""
    inferred: list[int] = []

    class Fixed(FakeRuntime):
        def _infer(self, crops: np.ndarray) -> Outputs:
            inferred.append(len(crops))
            return super()._infer(crops)

    runtime = Fixed()
    runtime.spec = replace(runtime.spec, batch_limits=limits, model="deploy/a.onnx")
    (timing,) = bench([runtime], BenchConfig(batch, runs=1, warmup=0, seconds=0))
    assert sum(inferred) == 2 * computed, "one run is not timed, and one is"
    assert (timing.computed, timing.to_dict()["computed"]) == (computed, computed)
    assert timing.model == "deploy/a.onnx"
    note = (
        f"deploy/a.onnx on fake computes {computed} crops in each run: it takes a fixed number, so "
        f"the batch of {batch} is filled up with copies"
    )
    assert timing.note == (note if computed > batch else "")


@pytest.mark.parametrize("name", ["batch", "runs"])
def test_numbers_of_crops_and_runs_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected at least 1, found 0"):
        BenchConfig(**{name: 0})


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["warmup", "seconds"])
def test_warm_up_and_seconds_must_not_be_negative(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected at least 0"):
        BenchConfig(**{name: value})


def test_no_runtimes_cannot_be_timed() -> None:
    with pytest.raises(ConfigError, match="at least one runtime, found none"):
        bench([], BenchConfig())
