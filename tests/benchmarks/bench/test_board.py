"""The table of machines."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from halnet.artifact import bundled, sha256_file
from halnet.benchmarks.bench.board import read_board
from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.timing.speed import Timing
from halnet.cores import Cores
from halnet.errors import ConfigError

MakeTiming = Callable[..., Timing]
MakeReport = Callable[..., BenchReport]


def write(path: Path, report: BenchReport) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.to_json())


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_each_machine_has_a_row_and_each_runtime_a_column(
    make_timing: MakeTiming, make_report: MakeReport, tmp_path: Path
) -> None:
    ours = sha256_file(bundled("halnet.safetensors"))
    first = make_report(
        make_timing(4.0, checkpoint=ours),
        make_timing(3.04, checkpoint=ours, runtime="openvino", precision="int8"),
        make_timing(30.0, batch=8),
    )
    other = replace(first.machine, cpu="Big CPU", features=(), cores=Cores(64, 64))
    wide = (1.0,) * 10 + (9.0,) * 10
    second = make_report(make_timing(5.0, checkpoint=ours, turns=wide, threads=64), machine=other)
    write(tmp_path / "first" / "report.json", first)
    write(tmp_path / "second.json", second)
    head, _, *found = rows(read_board(tmp_path).to_markdown())
    assert head == [
        *("machine", "cores", "threads", "model", "crops in each run"),
        *("onnxruntime FP32", "openvino INT8"),
    ]
    assert found == [
        ["A CPU, AVX2, VNNI", "2 of 4", "2", "abababababab", "8", "30.0", ""],
        ["A CPU, AVX2, VNNI", "2 of 4", "2", "halnet", "1", "4.0", "3.0"],
        ["Big CPU", "64 of 64", "64", "halnet", "1", "(5.0)", ""],
    ]


def test_the_newest_report_of_a_machine_counts(
    make_timing: MakeTiming, make_report: MakeReport, tmp_path: Path
) -> None:
    dates = {"a": "2026-11-26T12:00:00+00:00", "b": "2026-11-27T12:00:00+00:00", "c": "2025-01-01"}
    for ms, (name, created) in enumerate(dates.items(), 1):
        write(tmp_path / f"{name}.json", make_report(make_timing(float(ms)), created=created))
    (row,) = rows(read_board(tmp_path).to_markdown())[2:]
    assert row[-1] == "2.0"


def test_a_damaged_report_does_not_hide_the_others(make_report: MakeReport, tmp_path: Path) -> None:
    write(tmp_path / "good.json", make_report())
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "new.json").write_text(json.dumps({"format": 99}))
    board = read_board(tmp_path)
    assert len(board.reports) == 1
    assert ["bad.json: expected the report" in board.failed[0], len(board.failed)] == [True, 2]
    assert "found format 99, which a newer halnet wrote" in board.failed[1]


def test_a_folder_without_reports_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found no JSON file; write one with halnet-bench"):
        read_board(tmp_path)
    with pytest.raises(ConfigError, match="found no such folder"):
        read_board(tmp_path / "none")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ConfigError, match="bad.json: expected the report of a benchmark"):
        read_board(tmp_path)
