"""`halnet bench`: the times of models and runtimes."""

import json
from collections.abc import Callable

import pytest

from halnet.artifact import bundled

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
    rows = [line.split()[:2] for line in out.splitlines() if line.split()[:1] > ["halnet."]]
    assert ["halnet.onnx", "onnxruntime"] in rows
    assert ["halnet.safetensors", "pytorch"] in rows
