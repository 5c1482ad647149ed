"""`halnet bench`: the times of models and runtimes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.cores import thread_count

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]
MODEL = bundled("halnet.onnx")
ARGS = ("--threads", 2, "--runs", 3, "--warmup", 1, "--batch", 2)


def test_json_has_the_times_of_a_model(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("bench", MODEL, *ARGS, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    (timing,) = result["timings"]
    assert timing["runtime"] == "onnxruntime"
    assert (timing["batch"], timing["runs"], timing["threads"]) == (2, 3, 2)
    assert result["cores"]["usable"] == thread_count(None)
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
    out = capsys.readouterr().out
    assert "3 runs of each model, batch size 2, in turns" in out
    assert "On the CPU: 2 threads, as requested" in out
    rows = [line.split()[:2] for line in out.splitlines() if line.split()[:1] > ["halnet."]]
    assert ["halnet.onnx", "onnxruntime"] in rows
    assert ["halnet.safetensors", "pytorch"] in rows


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
    assert f"{missing} (runtime auto): not timed: {missing}: no such model file" in out


def test_models_none_of_which_can_be_opened_are_an_error(
    halnet: Halnet, capsys: Capture, tmp_path: Path
) -> None:
    assert halnet("bench", tmp_path / "a.onnx", tmp_path / "b.onnx") == 2
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 1
    assert "a.onnx: no such model file" in err
    assert "b.onnx: no such model file" in err
