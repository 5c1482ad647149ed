"""`halnet bench`: the times of models and runtimes."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.benchmarks.bench.report import BenchReport, read_report
from halnet.benchmarks.bench.run import BenchRun
from halnet.commands import bench
from halnet.cores import thread_count
from halnet.errors import ConfigError

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]
MODEL = bundled("halnet.onnx")
QUICK = ("--runs", 3, "--seconds", 0, "--warmup", 0, "--starts", 0)
ARGS = ("--threads", 2, *QUICK, "--batch", 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of an export: a good artifact, and a damaged one."""
    folder = tmp_path / "deploy"
    folder.mkdir()
    (folder / "halnet.onnx").write_bytes(MODEL.read_bytes())
    (folder / "halnet.int8.onnx").write_bytes(b"damaged")
    names = ("halnet.onnx", "halnet.int8.onnx")
    entries = {name: {"sha256": "", "parity": {}} for name in names}
    (folder / "manifest.json").write_text(json.dumps({"artifacts": entries}))
    return folder


def test_json_has_the_times_of_a_model(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("bench", MODEL, *ARGS, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    (timing,) = result["timings"]
    assert timing["runtime"] == "onnxruntime"
    assert (timing["batch"], timing["runs"], timing["threads"]) == (2, 3, 2)
    assert result["threads"] == 2
    assert result["machine"]["cores"]["usable"] == thread_count(None)
    assert 0 < timing["p50"] <= timing["p90"] <= timing["p99"]


def test_each_model_is_timed_on_each_runtime(halnet: Halnet, capsys: Capture) -> None:
    pytest.importorskip("openvino")
    runtimes = ("--runtime", "openvino", "--runtime", "onnxruntime")
    assert halnet("bench", MODEL, MODEL, *runtimes, *ARGS, "--json") == 0
    timings = json.loads(capsys.readouterr().out)["timings"]
    assert [timing["runtime"] for timing in timings] == ["openvino", "onnxruntime"] * 2


def test_the_bundled_model_is_timed_on_every_installed_runtime(
    halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("bench", *ARGS) == 0
    out, err = capsys.readouterr()
    assert "At least 3 runs of each model, batch size 2, in 3 turns" in out
    assert "Threads on the CPU: 2 requested; the runtimes state 2" in out
    assert "Warning: There are 3 turns, and at least 10 are needed" in out
    rows = [" ".join(line.split()[:4]) for line in out.splitlines()]
    assert "halnet.onnx on onnxruntime fp32" in rows
    assert "halnet.safetensors on pytorch fp32" in rows
    assert "models in turns" in err


def test_a_damaged_model_does_not_hide_the_times_of_the_others(
    halnet: Halnet, capsys: Capture, tmp_path: Path
) -> None:
    """Two models have the same file name: each row names its own."""
    bad, good = tmp_path / "bad" / "halnet.onnx", tmp_path / "good" / "halnet.onnx"
    for path, data in ((bad, b"damaged"), (good, MODEL.read_bytes())):
        path.parent.mkdir()
        path.write_bytes(data)
    missing = tmp_path / "missing.onnx"
    assert halnet("bench", bad, good, missing, MODEL, *ARGS, "--json") == 1
    result = json.loads(capsys.readouterr().out)
    assert [timing["model"] for timing in result["timings"]] == [str(good), "halnet.onnx"]
    assert [entry["model"] for entry in result["failed"]] == [str(bad), str(missing)]
    assert "no such model file" in result["failed"][1]["error"]
    assert halnet("bench", missing, good, *ARGS) == 1
    out = capsys.readouterr().out
    assert any(line.split()[:2] == [str(good), "onnxruntime"] for line in out.splitlines())
    (row,) = [line for line in out.splitlines() if line.split()[:1] == [str(missing)]]
    assert row.split()[1:3] == ["auto", "failed"]
    assert "no such model file" in row


def test_models_none_of_which_can_be_opened_are_an_error(
    halnet: Halnet, capsys: Capture, tmp_path: Path
) -> None:
    assert halnet("bench", tmp_path / "a.onnx", tmp_path / "b.onnx") == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 1
    assert "a.onnx: no such model file" in err
    assert "b.onnx: no such model file" in err


def test_a_folder_is_timed_and_every_form_of_the_report_is_written(
    halnet: Halnet, capsys: Capture, folder: Path, prepared: Path, tmp_path: Path
) -> None:
    """The damaged artifact is listed, the exit status is 1, and PyTorch is the reference."""
    pytest.importorskip("jinja2")
    report, table = tmp_path / "report", tmp_path / "times.csv"
    out = ("--report", report, "--csv", table, "--data", prepared, "--limit", 5)
    assert halnet("bench", folder, *QUICK, *out, "--json") == 1
    found = read_report(report / "report.json")
    assert json.loads(capsys.readouterr().out) == json.loads(found.to_json())
    assert [timing.runtime for timing in found.timings] == ["pytorch", "onnxruntime"]
    assert [timing.errors[0].count for timing in found.timings] == [5, 5]
    assert found.timings[0].errors[0].error == pytest.approx(
        found.timings[1].errors[0].error, abs=0.001
    )
    assert [Path(entry.model).name for entry in found.failed] == ["halnet.int8.onnx"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["result"] for row in rows] == ["timed", "timed", "failed"]
    page = (report / "report.html").read_text()
    assert "Error against time" in page
    assert "halnet.int8.onnx" in page

    assert halnet("bench", folder, *QUICK, "--against", report / "report.json") == 1
    out_text = capsys.readouterr().out
    assert "COMPARED WITH AN EARLIER REPORT" in out_text
    assert out_text.count("not known: too few turns") == 2

    assert halnet("bench", "--board", report) == 0
    assert "| onnxruntime FP32 | pytorch FP32 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "old.json"), "old.json: no such file; name a file that halnet-bench"),
        (("--report", "notes"), "found mine.txt in it; name another folder"),
        (("--csv", "notes"), "expected a file that can be written, found a folder"),
        (("--board", "notes"), "found no JSON file; write one with halnet-bench --report"),
        (("--board", "none"), "found no such folder"),
        (("--data", "notes"), "notes: "),
        (("--runs", "0"), "runs: expected at least 1, found 0"),
        (("notes",), "notes: expected a model whose name ends in one of"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...],
    message: str,
    halnet: Halnet,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    assert halnet("bench", *arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 1
    assert message in err


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ((), ()),
        (("--roof",), ("roof",)),
        (("--profile", "--way"), ("way", "profile")),
        (("--all",), ("way", "video", "sweep", "roof", "profile")),
    ],
)
def test_options_choose_the_parts(
    options: tuple[str, ...],
    parts: tuple[str, ...],
    halnet: Halnet,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[BenchRun] = []

    def refuse(config: BenchRun, on_step: object) -> BenchReport:
        found.append(config)
        raise ConfigError("enough")

    monkeypatch.setattr(bench, "run_bench", refuse)
    assert halnet("bench", MODEL, *options) == 2
    assert "enough" in capsys.readouterr().err
    assert [config.parts for config in found] == [parts]


def test_a_board_times_no_models(halnet: Halnet, capsys: Capture, tmp_path: Path) -> None:
    assert halnet("bench", MODEL, "--board", tmp_path) == 2
    assert "--board times nothing: leave out the models" in capsys.readouterr().err


def test_a_board_lists_the_files_that_it_cannot_read(
    halnet: Halnet, capsys: Capture, tmp_path: Path
) -> None:
    assert halnet("bench", MODEL, *ARGS, "--json") == 0
    (tmp_path / "good.json").write_text(capsys.readouterr().out)
    (tmp_path / "bad.json").write_text("{}")
    assert halnet("bench", "--board", tmp_path) == 1
    out, err = capsys.readouterr()
    assert out.startswith("# Machines\n")
    assert "bad.json: expected the report of a benchmark" in err
