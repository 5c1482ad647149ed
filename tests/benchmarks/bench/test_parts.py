"""Parts: what cannot be measured on this machine is a warning in the section."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from halnet.benchmarks.bench import parts
from halnet.benchmarks.bench.parts import Part, measure_part
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.machine import CpuTimes
from halnet.errors import DetectorError
from halnet.reporting.sections import Section
from halnet.runtimes.base import RuntimeOptions

MODELS = [TimedModel("a", Path("a"), RuntimeOptions(), True)]


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[CpuTimes | None]:
    """What the system states about the cores, before a part and after it: nothing."""
    found: list[CpuTimes | None] = [None, None]
    monkeypatch.setattr(parts, "find_cpu_times", lambda: found.pop(0))
    return found


def test_other_programs_during_a_part_are_a_warning(times: list[CpuTimes | None]) -> None:
    """The cores worked for 4 of 10 s, 3 of them for this program."""
    times[:] = [CpuTimes(100.0, 200.0, 7.0), CpuTimes(104.0, 206.0, 10.0)]
    part = Part("P", "s", lambda models, threads: Section("P", warnings=("own",)), "h")
    assert measure_part(part, MODELS, None).warnings == (
        "Other programs used 10% of the time of all cores during this part.",
        "own",
    )
    times[:] = [CpuTimes(100.0, 200.0, 7.0), CpuTimes(104.0, 206.0, 10.5)]
    assert measure_part(part, MODELS, None).warnings == ("own",)


@pytest.mark.usefixtures("times")
def test_a_part_gets_the_models_and_the_threads() -> None:
    def measure(models: Sequence[TimedModel], threads: int | None) -> Section:
        return Section(f"{models[0].name} on {threads}")

    assert measure_part(Part("P", "s", measure, "h"), MODELS, 3) == Section("a on 3")


def test_a_part_that_cannot_be_measured_is_a_warning() -> None:
    def refuse(models: Sequence[TimedModel], threads: int | None) -> Section:
        raise DetectorError("YuNet is missing; download it")

    assert measure_part(Part("P", "s", refuse, "h"), MODELS, None) == Section(
        "P", warnings=("This part was not measured: YuNet is missing; download it.",)
    )
