"""The process of its own that states its first age and its peak memory."""

import os

import pytest

from halnet.artifact import bundled
from halnet.benchmarks.timing import first_age
from halnet.benchmarks.usage import peak_memory
from halnet.errors import RuntimeUnavailableError


def test_the_first_age_is_printed_before_the_memory(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def state(process: int) -> float | None:
        asked.append(process)
        return None if len(asked) > 1 else peak_memory(process)

    monkeypatch.setattr(first_age, "peak_memory", state)
    for _ in range(2):
        first_age.main(["any.fake", "fake", "cpu", "0", "latency", "2"])
    age, memory, again, unknown = capsys.readouterr().out.splitlines()
    assert float(age) == pytest.approx(50.2, abs=0.1), "the gray of the crops, as the fake sees it"
    assert memory == "unknown" or float(memory) > 10
    assert (again, unknown) == (age, "unknown")
    assert asked == [os.getpid()] * 2


def test_a_model_is_opened_as_it_is_asked_for() -> None:
    with pytest.raises(RuntimeUnavailableError, match="found nowhere"):
        first_age.main([str(bundled("halnet.onnx")), "fake", "nowhere", "1", "latency", "1"])
