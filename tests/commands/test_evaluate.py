"""`halnet evaluate`: the errors of a model on a prepared dataset."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]


def test_json_and_a_figure(
    prepared: Path, checkpoint: Path, tmp_path: Path, halnet: Halnet, capsys: Capture
) -> None:
    figure = tmp_path / "errors.png"
    args = ("evaluate", checkpoint, "--data", prepared, "--device", "cpu")
    assert halnet(*args, "--figure", figure, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["overall"]["count"] == 12
    assert set(result["by_sex"]) == {"female", "male"}
    assert result["flip"] is False
    light = cv2.imread(str(figure))
    assert light.shape[1] > 1000
    assert light[0, 0].min() > 250
    assert halnet(*args, "--figure", figure, "--dark", "--limit", 2) == 0
    assert cv2.imread(str(figure))[0, 0].max() < 50


def test_the_tables(prepared: Path, checkpoint: Path, halnet: Halnet, capsys: Capture) -> None:
    args = ("evaluate", checkpoint, "--data", prepared, "--device", "cpu", "--threads", 1)
    assert halnet(*args, "--limit", 5, "--flip") == 0
    out = capsys.readouterr().out
    assert f"{checkpoint.name} on pytorch, averaged with mirror images: synthetic test split" in out
    (count,) = (line.split()[1] for line in out.splitlines() if line.split()[:1] == ["all"])
    assert count == "5"
    for text in (
        *("true ages inside", "90% interval", "mean interval", "Age check at 18 years"),
        *("challenge age", "minors let through", "adults stopped"),
        *("Probability to be 18 or older", "predicted range", "mean predicted", "observed"),
    ):
        assert text in out
