import numpy as np
import pytest

from halnet.benchmarks.speed import BenchConfig, bench
from halnet.errors import ConfigError
from halnet.results import Outputs
from halnet.runtimes.fake import FakeRuntime


class Clock:
    """A clock that only the runtimes move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(FakeRuntime):
    """Takes 2 ms a run, every tenth run 50 ms; keeps a diary of whose turn it was."""

    def __init__(self, clock: Clock, diary: list[str], name: str) -> None:
        super().__init__()
        self.clock, self.diary, self.name = clock, diary, name
        self.batches: set[int] = set()

    def run(self, images: np.ndarray) -> Outputs:
        self.diary.append(self.name)
        self.batches.add(len(images))
        self.clock.now += 0.050 if self.diary.count(self.name) % 10 == 0 else 0.002
        return Outputs(*(np.zeros(1, np.float32),) * 3)


def test_every_timed_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, diary = Clock(), []
    monkeypatch.setattr("time.perf_counter", clock)
    runtimes = [Timed(clock, diary, name) for name in "ab"]
    first, second = bench(runtimes, BenchConfig(batch=4, runs=100, warmup=3))
    assert runtimes[0].batches == {4}
    # 3 to warm up, then ten turns of one uncounted and ten counted runs: 113 runs, 11 of 50 ms
    assert diary.count("a") == diary.count("b") == 113
    assert first.runs == second.runs == 100
    assert first.p50 == pytest.approx(2)
    assert first.p99 == pytest.approx(50)
    assert 300 < first.frames_per_second < 1000
    turns = "".join(diary[6:])
    assert turns.startswith("a" * 11 + "b" * 11 + "a" * 11)


def test_wrong_requests() -> None:
    with pytest.raises(ConfigError, match="batch: expected at least 1, found 0"):
        BenchConfig(batch=0)
    with pytest.raises(ConfigError, match="at least one runtime, found none"):
        bench([], BenchConfig())
    with pytest.raises(ConfigError, match="runs: expected at least 1"):
        BenchConfig(runs=0)
