"""Two reports compared."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from halnet.benchmarks.bench.against import compare_reports
from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.timing.speed import BenchConfig, Timing

MakeTiming = Callable[..., Timing]
MakeReport = Callable[..., BenchReport]


def test_ratios_and_what_they_show(make_timing: MakeTiming, make_report: MakeReport) -> None:
    noise = tuple(4 * (1 + np.random.default_rng(0).normal(0, 0.05, 20)))
    old = make_report(
        make_timing(8.0), make_timing(2.0, runtime="openvino"), make_timing(runtime="pytorch")
    )
    new = make_report(
        make_timing(4.0, model="elsewhere/halnet.onnx"),
        make_timing(3.0, runtime="openvino"),
        make_timing(runtime="pytorch", turns=noise),
        make_timing(precision="int8"),
    )
    section = compare_reports(old, new)
    (table,) = section.tables
    assert [(row[1], row[3], row[4], row[6]) for row in table.rows] == [
        ("onnxruntime", 8.0, 4.0, "faster"),
        ("openvino", 2.0, 3.0, "slower"),
        ("pytorch", 4.0, 4.0, "no difference shown"),
    ]
    assert table.rows[0][5] == "0.50 (0.50 to 0.50)"
    assert "Not in the earlier report: deploy/halnet.onnx on onnxruntime." in section.text
    assert "Machine, versions and settings are the same." in section.text
    assert section.warnings == ()


def test_of_two_models_of_one_name_the_one_of_the_same_path_is_meant(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    old = make_report(
        make_timing(1.0, model="a/halnet.onnx"), make_timing(2.0, model="b/halnet.onnx")
    )
    new = make_report(
        make_timing(4.0, model="b/halnet.onnx"), make_timing(4.0, model="c/halnet.onnx")
    )
    section = compare_reports(old, new)
    assert [row[:1] + row[3:5] for row in section.tables[0].rows] == [("b/halnet.onnx", 2.0, 4.0)]
    assert "Not in the earlier report: c/halnet.onnx on onnxruntime." in section.text


def test_another_batch_or_mode_is_another_candidate(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    old = make_report(make_timing(batch=8), make_timing(mode="throughput"))
    section = compare_reports(old, make_report(make_timing()))
    assert "No candidate is in both reports, so nothing is compared." in section.text
    assert section.tables == ()


def test_too_few_turns_show_nothing(make_timing: MakeTiming, make_report: MakeReport) -> None:
    few = make_timing(turns=(4.0,) * 5)
    (table,) = compare_reports(make_report(few), make_report(make_timing(2.0))).tables
    assert table.rows[0][5:] == ("0.50", "not known: too few turns")


def test_changes_and_another_machine_are_stated(
    make_timing: MakeTiming, make_report: MakeReport
) -> None:
    old = make_report(make_timing(2.0, threads=1, provider="cpu", checkpoint="cd" * 32))
    machine = replace(
        old.machine, cpu="Another CPU", versions={"halnet": "0.1.0", "openvino": "2026.4"}
    )
    new = make_report(
        make_timing(), machine=machine, threads=2, config=BenchConfig(seconds=10), format=2
    )
    section = compare_reports(old, new)
    name = "deploy/halnet.onnx on onnxruntime"
    assert section.tables[1].rows == (
        ("processor", "A CPU", "Another CPU"),
        ("threads requested", "none", "2"),
        ("least time of the runs, s", "0.0", "10"),
        ("format of the report", "1", "2"),
        ("version of python", "3.11.7", "none"),
        ("version of onnxruntime", "1.32.0", "none"),
        ("version of openvino", "none", "2026.4"),
        (f"provider of {name}", "cpu", "CPUExecutionProvider"),
        (f"threads of {name}", "1", "2"),
        (f"checkpoint of {name}", "cdcdcdcdcdcd", "abababababab"),
    )
    assert section.warnings == (
        "The earlier report has format 1 and this one format 2: what only one of them has is not "
        "compared.",
        "The earlier report is of another machine (A CPU): the ratios compare machines as well as "
        "programs.",
    )


def test_another_version_alone_is_not_another_machine(make_report: MakeReport) -> None:
    old = make_report()
    new = make_report(machine=replace(old.machine, versions={"halnet": "0.2.0"}))
    assert compare_reports(old, new).warnings == ()
