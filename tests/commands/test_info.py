"""`halnet info`: the runtimes that are installed, and what a model file states."""

import json
from collections.abc import Callable

import pytest

from halnet import __version__
from halnet.artifact import bundled
from halnet.packages import installed_version

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def test_the_runtimes_are_listed_with_their_versions(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("info") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"halnet {__version__}, Python 3.")
    rows = [line.split() for line in out.splitlines()]
    found = {row[0]: row[1] for row in rows if len(row) > 1}
    assert found["onnxruntime"] == installed_version("onnxruntime", "onnxruntime-gpu")
    assert found["pytorch"] == installed_version("torch")
    assert "fake" not in found


def test_json_lists_the_runtimes(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("info", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["halnet"] == __version__
    assert values["libraries"]["numpy"] == installed_version("numpy")
    devices = {entry["runtime"]: entry["devices"] for entry in values["runtimes"]}
    assert "cpu" in devices["onnxruntime"]


def test_a_model_states_its_precision_and_its_input(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("info", bundled("halnet.onnx")) == 0
    out = capsys.readouterr().out
    values = {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in out.splitlines()}
    assert values["precision"] == "fp32"
    assert values["input"].startswith("uint8 N x 224 x 224 x 3 RGB, fingerprint ")
    assert values["batch"] == "any"
