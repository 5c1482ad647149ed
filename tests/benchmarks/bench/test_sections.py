"""What is shown of a report."""

from collections.abc import Callable

import pytest

from halnet.benchmarks.bench.candidates import NotTimed
from halnet.benchmarks.bench.model_errors import ModelErrors
from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.bench.sections import describe_report, find_sections
from halnet.benchmarks.timing.speed import Timing
from halnet.benchmarks.timing.start_up import StartUp
from halnet.reporting.sections import FigureKind, Section, Table
from halnet.runtimes.device_clock import DeviceTimes

MakeTiming = Callable[..., Timing]
MakeReport = Callable[..., BenchReport]


def column(table: Table, name: str) -> list[object]:
    (index,) = (i for i, head in enumerate(table.columns) if head.startswith(name))
    return [row[index] for row in table.rows]


def sections(report: BenchReport) -> dict[str, Section]:
    return {section.title: section for section in find_sections(report)}


def test_the_times_of_each_model_stand_beside_the_ratio_to_pytorch(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    report = make_report(make_timing(4.0), make_timing(8.0, runtime="pytorch", version="2.14"))
    speed = sections(report)["Speed"]
    table, details = speed.tables
    assert column(table, "model") == ["halnet.onnx on onnxruntime", "halnet.onnx on pytorch"]
    assert column(table, "median, ms") == [4.0, 8.0]
    assert column(table, "times as long as pytorch fp32") == ["0.50 (0.50 to 0.50)", "1"]
    assert column(details, "coefficient of variation, %") == [10.0, 10.0]
    assert column(details, "runtime") == ["onnxruntime 1.32.0", "pytorch 2.14"]
    assert any("at most 10% of it wide" in text for text in speed.text), "the rule is stated"
    assert any("because the CPU affinity allows no more" in text for text in speed.text)
    assert [figure.kind for figure in speed.figures] == [FigureKind.BARS]
    assert speed.figures[0].categories == ("halnet.onnx on onnxruntime", "halnet.onnx on pytorch")
    assert list(sections(report)) == ["Speed", "Machine"]


def test_models_of_one_name_are_told_apart_by_their_paths(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    models = ("a/halnet.onnx", "b/halnet.onnx", "b/other_openvino_model/")
    report = make_report(*(make_timing(model=model) for model in models))
    table, _ = sections(report)["Speed"].tables
    assert column(table, "model") == [
        "a/halnet.onnx on onnxruntime",
        "b/halnet.onnx on onnxruntime",
        "other_openvino_model on onnxruntime",
    ]


def test_errors_have_more_digits_than_times(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    errors = (ModelErrors("aaf", 9, "MAE", 4.56789, 0.9),)
    report = make_report(make_timing(3.45678, errors=errors))
    speed, found = sections(report)["Speed"].tables[0], sections(report)["Errors"].tables[0]
    assert speed.texts[0][2] == "3.46"
    assert "4.568" in speed.texts[0]
    assert "4.568" in found.texts[0]


def test_a_single_model_is_compared_with_nothing(make_report: MakeReport) -> None:
    table, _ = sections(make_report())["Speed"].tables
    assert not [head for head in table.columns if "times as long" in head]


def test_with_errors_the_main_picture_is_error_against_time(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    errors = (
        ModelErrors("all datasets", 900, "MAE", 4.5, 0.91),
        ModelErrors("aaf test split 01", 668, "MAE", 4.2, 0.93),
    )
    known = make_timing(4.0, errors=errors)
    unknown = make_timing(3.0, runtime="openvino")
    found = sections(make_report(known, unknown))
    figure, bars = found["Speed"].figures
    assert (figure.kind, bars.kind) == (FigureKind.POINTS, FigureKind.BARS)
    assert [(s.name, s.x, s.values) for s in figure.series] == [
        ("halnet.onnx on onnxruntime", (4.0,), (4.5,))
    ]
    table, _ = found["Speed"].tables
    assert column(table, "MAE, years") == [4.5, None]
    assert column(table, "true ages inside 90% interval") == [91.0, None]
    (table,) = found["Errors"].tables
    assert column(table, "dataset") == ["all datasets", "aaf test split 01"]
    assert column(table, "error, years") == [4.5, 4.2]


def test_distances_to_ranges_are_named(make_timing: MakeTiming, make_report: MakeReport) -> None:
    errors = (ModelErrors("fairface test split 01", 500, "distance", 2.0, 0.95),)
    table, _ = sections(make_report(make_timing(errors=errors)))["Speed"].tables
    assert column(table, "distance, years") == [2.0]


def test_starts_and_their_problems(make_timing: MakeTiming, make_report: MakeReport) -> None:
    good = make_timing(start_up=StartUp(0.5, 128.0, 3))
    bad = make_timing(start_up=StartUp(None, None, 1, "it failed"))
    (table,) = sections(make_report(good))["Start and memory"].tables
    assert column(table, "first age after, s") == [0.5]
    section = sections(make_report(good, bad))["Start and memory"]
    assert column(section.tables[0], "peak memory, MB") == [128.0, None]
    assert section.warnings == ("deploy/halnet.onnx on onnxruntime: it failed.",)
    assert section.text[0].startswith("Each model is opened in a process of its own, 3 times;")


def test_the_clock_of_a_gpu(make_timing: MakeTiming, make_report: MakeReport) -> None:
    gpu = make_timing(2.0, runtime="tensorrt", threads=0, device=DeviceTimes(1.0, 1.5))
    (table,) = sections(make_report(gpu, make_timing()))["Clock of the GPU"].tables
    assert table.rows == (("halnet.onnx on tensorrt", "CPUExecutionProvider", 1.0, 1.5, 2.0),)


def test_what_was_not_timed_and_what_else_was_measured(make_report: MakeReport) -> None:
    way = Section("The whole way")
    report = make_report(
        failed=(NotTimed("a.onnx", "auto", "damaged"),),
        skipped=(NotTimed("a.engine", "auto", "no GPU"),),
        sections=(way,),
        warnings=("busy",),
    )
    found = sections(report)
    assert list(found) == ["Speed", "The whole way", "Not timed", "Machine"]
    assert found["The whole way"] is way
    assert found["Speed"].warnings == ("busy",)
    assert found["Not timed"].tables[0].rows == (
        ("a.onnx", "auto", "failed", "damaged"),
        ("a.engine", "auto", "skipped", "no GPU"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processor", "A CPU"),
        ("cores that may be used", "2 of 4, because the CPU affinity allows no more"),
        ("before the first run", "load average 0.10, clock 2500 MHz"),
        ("after the last run", "load average 1.50, clock cannot be read"),
        ("used by other programs meanwhile", "7% of all cores"),
        ("version of onnxruntime", "1.32.0"),
    ],
)
def test_the_machine(name: str, value: str, make_report: MakeReport) -> None:
    (table,) = sections(make_report(others=0.07))["Machine"].tables
    assert dict(table.rows)[name] == value  # type: ignore[arg-type]


def test_where_and_when(make_report: MakeReport) -> None:
    assert describe_report(make_report()) == (
        "Made by halnet 0.1.0 on 2026-11-26 at 12:00 UTC. Processor: A CPU, 2 of 4 cores."
    )
