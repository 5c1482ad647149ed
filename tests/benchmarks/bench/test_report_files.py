"""The files of a report."""

import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.benchmarks.bench.candidates import NotTimed
from halnet.benchmarks.bench.model_errors import ModelErrors
from halnet.benchmarks.bench.report import BenchReport, read_report
from halnet.benchmarks.bench.report_files import FILES, check_report_folder, to_csv, write_report
from halnet.benchmarks.timing.speed import Timing
from halnet.benchmarks.timing.start_up import StartUp
from halnet.errors import ConfigError, RuntimeUnavailableError

MakeTiming = Callable[..., Timing]
MakeReport = Callable[..., BenchReport]


@pytest.fixture
def report(make_timing: MakeTiming, make_report: MakeReport) -> BenchReport:
    errors = (ModelErrors("aaf test split 01", 668, "MAE", 4.5, 0.9),)
    return make_report(
        make_timing(4.0, start_up=StartUp(0.5, 128.0, 3), errors=errors),
        make_timing(8.0, runtime="pytorch", model="halnet.safetensors"),
        failed=(NotTimed("bad.onnx", "auto", "damaged, a lot"),),
    )


def test_csv_has_a_row_for_each_model_by_the_names_of_its_columns(report: BenchReport) -> None:
    first, second, failed = csv.DictReader(to_csv(report).splitlines())
    assert (first["p50"], first["ratio"], first["ratio_low"]) == ("4.0", "0.5", "0.5")
    assert (first["start_seconds"], first["peak_memory"]) == ("0.5", "128.0")
    assert (first["error_kind"], first["error"], first["coverage"]) == ("MAE", "4.5", "0.9")
    assert (first["cpu"], first["result"], first["format"]) == ("A CPU", "timed", "1")
    assert (first["warm_up_runs"], first["stable"], first["batch"]) == ("20", "1", "1")
    assert (second["ratio"], second["start_seconds"], second["error"]) == ("1.0", "", "")
    assert (failed["model"], failed["result"], failed["reason"], failed["p50"]) == (
        *("bad.onnx", "failed", "damaged, a lot", ""),
    )


def test_a_folder_gets_all_files_and_a_second_report_replaces_them(
    report: BenchReport, make_report: MakeReport, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    folder = tmp_path / "new" / "report"
    write_report(folder, make_report())
    write_report(folder, report)
    assert sorted(os.listdir(folder)) == sorted(FILES)
    assert read_report(folder / "report.json") == report
    assert (folder / "report.csv").read_text() == to_csv(report)
    for name in ("report.md", "report.html"):
        text = (folder / name).read_text()
        assert "halnet.safetensors" in text
        assert "damaged, a lot" in text
    assert (folder / "report.html").read_text().count("<svg") == 2


def test_a_folder_with_other_files_is_left_alone(report: BenchReport, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError) as error:
        write_report(tmp_path, report)
    assert str(error.value) == (
        f"{tmp_path}: expected a new or empty folder, or one with an earlier report, found "
        "notes.txt in it; name another folder"
    )
    assert os.listdir(tmp_path) == ["notes.txt"]
    with pytest.raises(ConfigError, match="expected a folder, found that .*notes.txt is a file"):
        check_report_folder(tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match="expected a folder, found that .*notes.txt is a file"):
        check_report_folder(tmp_path / "notes.txt" / "report")


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_a_missing_library_is_noticed_before_anything_is_timed(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'halnet\[report\]'"):
        check_report_folder(tmp_path)
