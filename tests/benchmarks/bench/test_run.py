"""A whole run with fake models, and the sentences about what makes its times doubtful."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from halnet.benchmarks.bench import candidates, run
from halnet.benchmarks.bench.candidates import Candidate
from halnet.benchmarks.bench.model_errors import DataConfig, ModelErrors
from halnet.benchmarks.bench.parts import Part
from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.bench.run import BenchRun, find_warnings, run_bench
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.machine import Conditions, CpuTimes
from halnet.benchmarks.timing.speed import BenchConfig, Timing
from halnet.benchmarks.timing.start_up import StartUp
from halnet.benchmarks.timing.warm_up import WarmUp
from halnet.cores import Cores
from halnet.errors import ArtifactError, ConfigError, DatasetError, RuntimeUnavailableError
from halnet.reporting.sections import Section
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.fake import FakeRuntime

MakeTiming = Callable[..., Timing]
MakeReport = Callable[..., BenchReport]
QUICK = BenchConfig(runs=10, warmup=0, seconds=0)
CONFIG = BenchRun((Path("a.fake"), Path("b.fake")), timing=QUICK, starts=0)
QUIET = Conditions(0.0, None)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that need no file, on a machine that is quiet."""

    def open_fake(path: Path, options: RuntimeOptions) -> FakeRuntime:
        if path.name.startswith("bad"):
            raise ArtifactError(f"{path}: damaged")
        fake = FakeRuntime(path, options)
        fake.spec = replace(fake.spec, model=str(path))
        return fake

    monkeypatch.setattr(candidates, "open_model", open_fake)
    monkeypatch.setattr(run, "find_conditions", lambda: QUIET)
    monkeypatch.setattr(run, "find_cpu_times", lambda: None)


def test_a_report_has_the_times_of_each_model() -> None:
    steps: list[str] = []
    models = (Path("a.fake"), Path("bad.fake"))
    report = run_bench(replace(CONFIG, models=models), steps.append)
    assert [timing.model for timing in report.timings] == ["a.fake"]
    assert [entry.model for entry in report.failed] == ["bad.fake"]
    assert report.timings[0].start_up is None
    assert report.timings[0].errors == ()
    assert (report.config, report.before, report.threads) == (QUICK, QUIET, None)
    assert steps == ["timing 1 model in turns"]
    assert json.loads(report.to_json())["machine"]["versions"]["halnet"]


def test_models_are_started_with_the_options_that_they_were_timed_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[list[str]] = []

    def measure(commands: list[list[str]], processes: int) -> list[StartUp]:
        started.extend(command[3:] for command in commands)
        return [StartUp(number, 100.0, processes) for number, _ in enumerate(commands)]

    monkeypatch.setattr(run, "measure_starts", measure)
    options = RuntimeOptions(threads=2)
    report = run_bench(replace(CONFIG, starts=3, options=options))
    assert started == [
        ["a.fake", "fake", "auto", "2", "latency", "1"],
        ["b.fake", "fake", "auto", "2", "latency", "1"],
    ]
    assert [timing.start_up for timing in report.timings] == [
        StartUp(0, 100.0, 3),
        StartUp(1, 100.0, 3),
    ]


def test_errors_stand_beside_the_times_and_a_problem_is_a_warning(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (ModelErrors("synthetic", 9, "MAE", 4.5, 0.9),)

    def measure(model: Path, options: RuntimeOptions, config: DataConfig) -> object:
        assert config.data == (prepared,)
        assert options.runtime == "fake"
        if model.name == "b.fake":
            raise ArtifactError("no")
        return found

    monkeypatch.setattr(run, "measure_errors", measure)
    report = run_bench(replace(CONFIG, errors=DataConfig((prepared,))))
    assert [timing.errors for timing in report.timings] == [found, ()]
    assert report.warnings[-1] == "The errors of b.fake on fake were not measured: no"


def test_a_reference_that_cannot_be_opened_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Candidate(Path("halnet.safetensors"), RuntimeOptions("pytorch"), True)
    monkeypatch.setattr(run, "find_references", lambda opened, options: [missing])
    fake = candidates.open_model

    def refuse(path: Path, options: RuntimeOptions) -> object:
        if options.runtime == "pytorch":
            raise RuntimeUnavailableError("PyTorch cannot be loaded")
        return fake(path, options)

    monkeypatch.setattr(candidates, "open_model", refuse)
    report = run_bench(CONFIG)
    assert len(report.timings) == 2
    assert [entry.error for entry in report.skipped] == ["PyTorch cannot be loaded"]
    assert report.failed == ()


def test_bad_input_is_found_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "bench", lambda *_: pytest.fail("it was timed"))
    with pytest.raises(DatasetError):
        run_bench(replace(CONFIG, errors=DataConfig((tmp_path,))))
    with pytest.raises(ConfigError, match="no such file"):
        run_bench(replace(CONFIG, against=tmp_path / "old.json"))


def test_an_earlier_report_is_compared_with(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(run_bench(CONFIG).to_json())
    (section,) = run_bench(replace(CONFIG, against=path)).sections
    assert [row[:2] for row in section.tables[0].rows] == [("a.fake", "fake"), ("b.fake", "fake")]
    assert "Machine, versions and settings are the same." in section.text


def test_parts_are_measured_in_order_after_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is named twice is measured once."""
    path = tmp_path / "old.json"
    path.write_text(run_bench(CONFIG).to_json())

    def measure(models: list[TimedModel], threads: int | None) -> Section:
        names = ", ".join(model.name for model in models)
        return Section(f"{names}: {models[0].options.runtime} on {threads}")

    parts = {name: Part(name, f"step {name}", measure, "") for name in ("roof", "way")}
    monkeypatch.setattr(run, "PARTS", parts)
    monkeypatch.setattr("halnet.benchmarks.bench.parts.find_cpu_times", lambda: None)
    steps: list[str] = []
    twice = replace(CONFIG, models=(Path("a.fake"),) * 2, options=RuntimeOptions(threads=2))
    report = run_bench(replace(twice, against=path, parts=("way", "roof")), steps.append)
    assert [section.title for section in report.sections] == [
        "Compared with an earlier report",
        *["a.fake on fake: fake on 2"] * 2,
    ]
    assert steps == ["timing 2 models in turns", "step way", "step roof"]


@pytest.mark.parametrize("wait", [True, False])
def test_a_busy_machine_is_waited_for_if_asked(wait: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([9.0, 0.1, 0.1] if wait else [9.0, 0.1])
    waited: list[Cores] = []
    monkeypatch.setattr(run, "find_conditions", lambda: Conditions(next(loads), None))
    monkeypatch.setattr(run, "wait_until_quiet", waited.append)
    steps: list[str] = []
    report = run_bench(replace(CONFIG, wait=wait), steps.append)
    assert (len(waited), "waiting until the machine is quiet" in steps) == (wait, wait)
    busy = [warning for warning in report.warnings if warning.startswith("The machine is busy")]
    assert len(busy) == (not wait)
    assert all("--wait" in warning for warning in busy)


def test_steady_times_on_a_quiet_machine_need_no_warning(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    report = make_report(make_timing(4.0), make_timing(8.0, runtime="pytorch"))
    assert list(find_warnings(report.machine, report.before, report.others, report.timings)) == []


def test_other_programs_are_stated(
    make_report: MakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two moments the cores worked for 4 of 10 s, 3 of them for this program."""
    times = [CpuTimes(100.0, 200.0, 7.0), CpuTimes(104.0, 206.0, 10.0)]
    monkeypatch.setattr(run, "find_cpu_times", lambda: times.pop(0))
    report = run_bench(CONFIG)
    assert report.others == pytest.approx(0.1)
    warning, *_ = report.warnings  # the others are about the real times of the fake models
    assert warning.startswith("Other programs used 10% of the time of all cores while the models")
    report = make_report(others=0.05)
    assert list(find_warnings(report.machine, report.before, report.others, report.timings)) == []


def test_one_core_is_stated(make_report: MakeReport) -> None:
    report = make_report()
    machine = replace(report.machine, cores=Cores(1, 1))
    (warning,) = find_warnings(machine, report.before, None, report.timings)
    assert warning.startswith("Only one core may be used: ")


def test_a_warm_up_that_did_not_end_is_stated(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    report = make_report(
        make_timing(warm_up=WarmUp(300, False)), make_timing(warm_up=WarmUp(0, False), model="b")
    )
    (warning,) = find_warnings(report.machine, report.before, report.others, report.timings)
    assert warning == (
        "halnet.onnx on onnxruntime did not reach a stable time in 300 runs of warm-up."
    )


def test_models_that_cannot_be_compared_are_named(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    """A slow phase that both models share does not matter; one that only one of them has does."""
    phases = (1.0,) * 10 + (2.0,) * 10
    mixed = tuple(4 * np.tile([1.0, 2.0], 10))
    shared = make_timing(model="a.onnx", turns=phases)
    steady = make_timing(model="b.onnx", turns=phases)
    alone = make_timing(model="c.onnx", turns=mixed)
    report = make_report(shared, steady, alone)
    (warning,) = find_warnings(report.machine, report.before, report.others, report.timings)
    assert warning == (
        "Too uncertain to be compared, because an interval is wider than 10% of its value: "
        "a.onnx on onnxruntime, c.onnx on onnxruntime."
    )


def test_too_few_turns_are_stated(make_timing: MakeTiming, make_report: MakeReport) -> None:
    report = make_report(make_timing(turns=(4.0,) * 5))
    (warning,) = find_warnings(report.machine, report.before, report.others, report.timings)
    assert warning.startswith("There are 5 turns, and at least 10 are needed")
