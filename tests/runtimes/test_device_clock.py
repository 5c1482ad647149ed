"""The clock of a device: what is read from the marks of a run, and who has no clock."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from halnet.errors import ConfigError
from halnet.runtimes.backends import open_runtime
from halnet.runtimes.device_clock import DeviceTimes, read_marks
from halnet.runtimes.fake import FakeRuntime


class Counter:
    """A clock that is one millisecond further at each mark."""

    marks = 0

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def between(self, first: int, second: int) -> float:
        return float(second - first)


class Times:
    """A clock whose marks are times."""

    def mark(self) -> None:
        raise AssertionError

    def between(self, first: float, second: float) -> float:
        return second - first


def test_the_times_of_several_inferences_are_added_up() -> None:
    marks = [0.0, 1.0, 11.0, 14.0, 100.0, 102.0, 122.0, 126.0]
    assert read_marks(Times(), marks) == DeviceTimes(compute=30.0, total=40.0)


def test_a_runtime_without_a_clock_runs_nothing(crops: np.ndarray) -> None:
    runtime = FakeRuntime()
    runtime._infer = lambda crops: pytest.fail("it ran")  # type: ignore[method-assign]
    assert runtime.time_on_device(crops) is None
    runtime.close()
    with pytest.raises(ConfigError, match="used after close"):
        runtime.time_on_device(crops)


def test_pytorch_marks_each_moment_once_and_only_if_it_is_timed(crops: np.ndarray) -> None:
    pytest.importorskip("torch")
    with open_runtime(runtime="pytorch", device="cpu") as runtime:
        assert runtime.time_on_device(crops[:1]) is None, "a CPU has no such clock"
        runtime._clock = Counter()  # type: ignore[attr-defined]
        runtime.run(crops[:1])
        assert runtime._clock.marks == 0  # type: ignore[attr-defined]
        assert runtime.time_on_device(crops[:1]) == DeviceTimes(1.0, 3.0)


def test_the_clock_of_pytorch_uses_the_stream_of_its_device() -> None:
    pytest.importorskip("torch")
    from halnet.runtimes.pytorch import _Clock

    class Event:
        passed = False

        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            assert stream == "stream of cuda:1"

        def synchronize(self) -> None:
            self.passed = True

        def elapsed_time(self, other: "Event") -> float:
            assert other.passed
            return 2.5

    cuda = SimpleNamespace(Event=Event, current_stream=lambda device: f"stream of {device}")
    torch: Any = SimpleNamespace(cuda=cuda)
    clock = _Clock(torch, "cuda:1")
    assert clock.between(clock.mark(), clock.mark()) == 2.5
