"""The report of a benchmark as JSON: what is written can be read, and what else is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.benchmarks.bench.candidates import NotTimed
from halnet.benchmarks.bench.model_errors import ModelErrors
from halnet.benchmarks.bench.report import FORMAT, BenchReport, read_report
from halnet.benchmarks.timing.speed import Timing
from halnet.benchmarks.timing.start_up import StartUp
from halnet.errors import ConfigError
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table
from halnet.runtimes.device_clock import DeviceTimes

MakeTiming = Callable[..., Timing]
MakeReport = Callable[..., BenchReport]


@pytest.fixture
def full(make_timing: MakeTiming, make_report: MakeReport) -> BenchReport:
    """A report that uses every field."""
    timing = make_timing(
        3.123456789,
        device=DeviceTimes(1.5, 2.5),
        start_up=StartUp(0.5, 128.25, 3),
        errors=(ModelErrors("aaf test split 0123", 668, "MAE", 4.5, 0.9),),
    )
    figure = Figure("f", FigureKind.BARS, "ms", (Series("s", (1.0,)),), categories=("a",))
    section = Section("The way", ("t",), (Table(("a",), ((0.123456789,),)),), (figure,))
    return make_report(
        timing,
        threads=2,
        failed=(NotTimed("a.onnx", "auto", "damaged"),),
        skipped=(NotTimed("a.engine", "auto", "no GPU"),),
        warnings=("busy",),
        sections=(section,),
    )


def test_a_report_is_the_same_after_writing_and_reading_it(
    full: BenchReport, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    path.write_text(full.to_json())
    assert read_report(path) == full
    values = json.loads(path.read_text())
    assert values["format"] == FORMAT
    assert values["timings"][0]["p50"] == 3.123456789
    assert values["machine"]["cores"]["usable"] == 2
    assert values["sections"][0]["tables"][0]["rows"] == [[0.123456789]], "not rounded"


def test_a_report_without_the_newest_fields_is_read(full: BenchReport, tmp_path: Path) -> None:
    values = json.loads(full.to_json())
    del values["sections"], values["timings"][0]["device"]
    values["from_the_future"] = 1
    path = tmp_path / "report.json"
    path.write_text(json.dumps(values))
    found = read_report(path)
    assert (found.sections, found.timings[0].device) == ((), None)


def test_a_report_of_a_newer_format_is_refused(full: BenchReport, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"format": FORMAT + 1, "what": "nobody knows"}))
    with pytest.raises(ConfigError) as error:
        read_report(path)
    assert str(error.value) == (
        f"{path}: expected a report of format {FORMAT} or older, found format {FORMAT + 1}, which "
        "a newer halnet wrote; update halnet, or make the report again"
    )


CURE = "; name a file that halnet-bench --json or --report wrote"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found another file (Expecting value: line 1 column 1 (char 0))"),
        ("[1]", "found another or a damaged file (it is no object)"),
        ("{}", "found another or a damaged file (created is missing)"),
        ('{"format": "x"}', "found another or a damaged file (created is missing)"),
        ("[" * 5000, "found another file (it is nested too deeply)"),
    ],
)
def test_another_file_is_one_line(text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_report(path)
    assert str(error.value) == f"{path}: expected the report of a benchmark, {found}{CURE}"


def test_a_damaged_report_names_the_field(full: BenchReport, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(full.to_json().replace('"p99": 6.0', '"p99": "slow"'))
    with pytest.raises(ConfigError, match=r"damaged file \(timings\.0\.p99 is no float\)"):
        read_report(path)
    path.write_text(full.to_json()[:-30])
    with pytest.raises(ConfigError, match="expected the report of a benchmark, found another file"):
        read_report(path)
    values = json.loads(full.to_json())
    path.write_text(json.dumps({**values, "timings": []}))
    with pytest.raises(ConfigError, match=r"\(timings: expected at least one\)"):
        read_report(path)


def test_a_missing_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no such file{CURE}"):
        read_report(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="found another file"):
        read_report(tmp_path)


def test_the_reference_is_pytorch_or_else_the_first(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    first, second = make_timing(2.0), make_timing(3.0, runtime="openvino")
    pytorch = make_timing(8.0, runtime="pytorch")
    assert make_report(first, second).reference is first
    report = make_report(first, second, pytorch)
    assert report.reference is pytorch
    assert report.ratio(first).value == 0.25
    assert report.ratio(pytorch).value == 1
