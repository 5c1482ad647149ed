"""The tables of INT8: their rows are measured, the naive ones too."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from halnet.artifact import bundled
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.export.graph import simplify
from halnet.export.to_onnx import trace
from halnet.network.checkpoint import load_checkpoint, load_config, save_checkpoint


@pytest.fixture(scope="module")
def bundled_graph() -> Any:
    return trace(simplify(load_checkpoint(bundled("halnet.safetensors")).model))


@pytest.fixture
def of_the_dataset(
    calibratable: Path, bundled_graph: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Pretend that the bundled model was trained on the tests' photos; return the options."""
    path = bundled("halnet.safetensors")
    model, metadata = load_checkpoint(path)
    split = PreparedDataset(calibratable).split_sha256
    checkpoint = tmp_path / "halnet.safetensors"
    save_checkpoint(checkpoint, model, load_config(path), replace(metadata, split_sha256=split))
    monkeypatch.setattr(int8, "bundled", lambda name: checkpoint)
    monkeypatch.setattr(int8, "trace", lambda model: bundled_graph)
    return ["--data", str(calibratable)]


def _cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines]


def test_recipes(of_the_dataset: list[str]) -> None:
    pytest.importorskip("nncf")
    args = ["recipes", *of_the_dataset, "--rows", "1,2,3,4", "--runs", "2"]
    done = CliRunner().invoke(int8.main, args, catch_exceptions=False)
    columns, _, *rows = _cells(done.stdout)
    assert [row[1] for row in rows] == [
        *("pytorch", "onnxruntime", "openvino"),
        *("onnxruntime", "openvino"),
        *("onnxruntime", "openvino"),
    ]
    p99 = [float(row[columns.index("p99")]) for row in rows]
    sizes = [float(row[columns.index("MB")]) for row in rows]
    assert p99[:3] == [0, 0, 0]
    assert min(p99[3:]) > 0.1
    assert max(sizes[3:]) < min(sizes[:3]) / 2
    assert [row[2] for row in rows] == ["", "", "", "", "", "0", "0"]
    wrong = CliRunner().invoke(int8.main, ["recipes", *of_the_dataset, "--rows", "0"])
    assert wrong.exit_code == 2
    assert "expected numbers from 1 to 7, found 0" in wrong.output


def test_the_curve(of_the_dataset: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "SIZES", (16, 20, 500))
    monkeypatch.setattr(int8, "SEEDS", 2)
    done = CliRunner().invoke(int8.main, ["curve", *of_the_dataset], catch_exceptions=False)
    _, _, *rows = _cells(done.stdout)
    assert [row[0] for row in rows] == ["16", "20"], "no more than there are"
    for row in rows:
        mean, worst = (float(part.strip("()")) for part in row[1].split())
        assert 0 < mean <= worst


def test_ranges(of_the_dataset: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "RANGES", (("as trained", "minmax"), ("equalized", "percentile")))
    done = CliRunner().invoke(int8.main, ["ranges", *of_the_dataset], catch_exceptions=False)
    _, _, *rows = _cells(done.stdout)
    assert [row[:3] for row in rows] == [
        [channels, method, scheme]
        for channels, method in int8.RANGES
        for scheme in ("unsigned", "symmetric")
    ]
    assert min(float(row[3]) for row in rows) > 0
