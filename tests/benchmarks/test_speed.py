from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from halnet.benchmarks import speed
from halnet.benchmarks.speed import BenchConfig, bench
from halnet.errors import ConfigError
from halnet.results import Outputs
from halnet.runtimes.base import BatchLimits
from halnet.runtimes.fake import FakeRuntime

X86 = "model name\t: A CPU\nflags\t\t: fpu avx2 avx512f avx512_vnni\n"
ARM = "Features\t: fp asimd asimddp i8mm\n"


class Clock:
    """A clock that only the runtimes move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class TimedRuntime(FakeRuntime):
    """Takes 2 ms for a run, and 50 ms for every tenth; records in a diary whose turn it was."""

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
    runtimes = [TimedRuntime(clock, diary, name) for name in "ab"]
    first, second = bench(runtimes, BenchConfig(batch=4, runs=100, warmup=3))
    assert runtimes[0].batches == {4}
    # 3 runs to warm up, then ten turns of one run that does not count and ten that do.
    # These are 113 runs, 11 of which take 50 ms.
    assert diary.count("a") == diary.count("b") == 113
    assert first.runs == second.runs == 100
    assert first.p50 == pytest.approx(2)
    assert first.p99 == pytest.approx(50)
    assert 300 < first.frames_per_second < 1000
    turns = "".join(diary[6:])
    assert turns.startswith("a" * 11 + "b" * 11 + "a" * 11)


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
    (timing,) = bench([runtime], BenchConfig(batch, runs=1, warmup=0))
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


def test_no_runtimes_cannot_be_timed() -> None:
    with pytest.raises(ConfigError, match="at least one runtime, found none"):
        bench([], BenchConfig())


@pytest.mark.parametrize(
    ("text", "features"),
    [(X86, ["AVX2", "AVX-512", "VNNI"]), (ARM, ["dot product", "I8MM"]), ("", [])],
)
def test_instructions_for_fast_integers(
    text: str, features: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(speed, "CPU_INFO", path)
    assert speed.cpu_features() == features


def test_the_name_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(speed, "CPU_INFO", path)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert speed.machine() == "arm", "this system has no such file"
    path.write_text(X86)
    assert speed.machine() == "A CPU, AVX2, AVX-512, VNNI"
