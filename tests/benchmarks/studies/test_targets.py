import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.studies import targets
from halnet.benchmarks.timing.speed import BenchConfig, Timing
from halnet.errors import ArtifactError, ConfigError

Made = Callable[..., Path]


def parity(count: int, p99: float) -> dict[str, Any]:
    return {
        "runtime": "onnxruntime 1.32.0",
        "overall": {"count": count, "p99": p99, "maximum": 2 * p99},
    }


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A folder whose manifest lists four artifacts, of which one failed and one is unchecked."""

    def entry(kind: str, size: int, **comparisons: Any) -> dict[str, Any]:
        return {
            "format": kind,
            "precision": "fp32",
            "bytes": size,
            "sha256": "",
            "parity": comparisons,
        }

    artifacts = {
        "halnet.onnx": entry("onnx", 12_540_000, few=parity(3, 0.5), many=parity(575, 0.125)),
        "halnet_web": entry("web", 27_000_000, many=parity(575, 0.25)),
        "halnet.engine": entry("tensorrt", 14_000_000),
        "halnet.tflite.failed": entry("litert", 1),
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return tmp_path


@pytest.fixture
def bench(
    make_timing: Callable[..., Timing], make_report: Callable[..., BenchReport], tmp_path: Path
) -> Path:
    """A report that timed an artifact in two runtimes, and a page's model in ONNX Runtime."""
    path = tmp_path / "report.json"
    ort = make_timing(3.25, model="deploy/halnet.onnx", runtime="onnxruntime", version="1.32.0")
    ov = make_timing(2.5, model="deploy/halnet.onnx", runtime="openvino", version="2026.4.1")
    page = make_timing(3.5, model="deploy/halnet_web", runtime="onnxruntime", version="1.32.0")
    path.write_text(make_report(ort, ov, page).to_json())
    return path


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    path = tmp_path / "pages.json"
    results = [
        {"page": "halnet_web", "threads": threads, "crop_milliseconds": 30.0 / threads}
        for threads in (1, 2)
    ]
    path.write_text(json.dumps(results))
    return path


def run(*args: object) -> list[list[str]]:
    done = CliRunner().invoke(targets.main, [str(arg) for arg in args], catch_exceptions=False)
    lines = [line for line in done.output.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_each_cell_is_what_was_measured(deploy: Path, bench: Path, pages: Path) -> None:
    assert run(deploy, "--bench", bench, "--pages", pages) == [
        [
            *("`halnet.onnx`", "`--format onnx --precision fp32`", "onnxruntime 1.32.0", "575"),
            *("0.12500", "0.25000", *time, "12.5"),
        ]
        for time in (("3.2", "onnxruntime 1.32.0"), ("2.5", "openvino 2026.4.1"))
    ] + [
        [
            *("`halnet.engine`", "`--format tensorrt --precision fp32`", "not checked"),
            *("", "", "", "", "", "14.0"),
        ]
    ] + [
        [
            *("`halnet_web`", "`--format web --precision fp32`", "onnxruntime 1.32.0", "575"),
            *("0.25000", "0.50000", *time, "27.0"),
        ]
        for time in (("30.0", "Chromium, 1 thread"), ("15.0", "Chromium, 2 threads"))
    ]


def test_the_program_is_run_with_the_folder_and_the_crops(tmp_path: Path) -> None:
    program = tmp_path / "halnet_cpp"
    program.write_text('#!/bin/sh\n[ "$*" = "m c --threads 2 --time 300" ] && echo 4.5 ms >&2\n')
    program.chmod(0o755)
    time = targets.program_time(program, Path("m"), Path("c"), 2)
    assert time == targets.Time(4.5, "C++ with OpenVINO")
    with pytest.raises(ConfigError, match="expected the program of examples/cpp"):
        targets.program_time(program, Path("other"), Path("c"), 2)
    program.unlink()
    with pytest.raises(ConfigError, match="expected the program of examples/cpp"):
        targets.program_time(program, Path("m"), Path("c"), 2)


def test_other_files_are_refused(
    deploy: Path, bench: Path, make_report: Callable[..., BenchReport], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="expected what the study browser_page prints"):
        run(deploy, "--bench", bench, "--pages", bench)
    batches = tmp_path / "batches.json"
    batches.write_text(make_report(config=BenchConfig(batch=8)).to_json())
    with pytest.raises(ConfigError, match="expected times of one crop, found a batch of 8"):
        run(deploy, "--bench", batches)
    (deploy / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"expected a manifest\.json that lists artifacts"):
        run(deploy, "--bench", bench)
