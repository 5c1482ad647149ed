"""The tables of the study on INT8, with the photos of the tests."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner

from halnet.artifact import TrainedSet, bundled
from halnet.benchmarks.studies import int8_recipes
from halnet.benchmarks.studies.recipes import RECIPES
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import RuntimeUnavailableError
from halnet.network.checkpoint import load_checkpoint, save_checkpoint

P99 = "99th percentile of the age shift, years"


@pytest.fixture
def of_the_dataset(
    calibratable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Pretend that the bundled model was trained on the photos of the tests; return the options.

    The graph is that of the bundled ONNX file, because tracing takes long.
    """
    graph = onnx.load(bundled("halnet.onnx"))
    del graph.metadata_props[:]  # the metadata of the bundled artifact
    loaded = load_checkpoint(bundled("halnet.safetensors"))
    metadata = replace(
        loaded.metadata,
        datasets=(TrainedSet("synthetic", PreparedDataset(calibratable).split_sha256),),
    )
    path = tmp_path / "halnet.safetensors"
    save_checkpoint(path, loaded.model, loaded.recipe, metadata)
    monkeypatch.setattr(int8_recipes, "bundled", lambda name: path)
    monkeypatch.setattr(int8_recipes, "trace", lambda model: graph)
    return ["--data", str(calibratable)]


def _cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines]


def test_the_table_of_recipes(of_the_dataset: list[str]) -> None:
    pytest.importorskip("nncf")
    args = ["recipes", *of_the_dataset, "--rows", "1,2,3,4", "--runs", "2"]
    done = CliRunner().invoke(int8_recipes.main, args, catch_exceptions=False)
    columns, _, *rows = _cells(done.stdout)
    assert [row[1] for row in rows] == [
        *("pytorch", "onnxruntime", "openvino"),
        *("onnxruntime", "openvino"),
        *("onnxruntime", "openvino"),
    ]
    p99 = [float(row[columns.index(P99)]) for row in rows]
    sizes = [float(row[columns.index("size, MB")]) for row in rows]
    assert p99[:3] == [0, 0, 0]
    assert min(p99[3:]) > 0.1
    assert max(sizes[3:]) < min(sizes[:3]) / 2
    kept = columns.index("layers kept in floating point")
    assert [row[kept] for row in rows] == ["", "", "", "", "", "0", "0"]


def test_an_unknown_row_is_refused(calibratable: Path) -> None:
    args = ["recipes", "--data", str(calibratable), "--rows", "0"]
    done = CliRunner().invoke(int8_recipes.main, args)
    assert done.exit_code == 2
    assert f"expected numbers from 1 to {len(RECIPES)}, found 0" in done.output


def test_the_table_of_numbers_of_photos(
    of_the_dataset: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_recipes, "SIZES", (16, 20, 500))
    monkeypatch.setattr(int8_recipes, "SEEDS", 2)
    done = CliRunner().invoke(int8_recipes.main, ["curve", *of_the_dataset], catch_exceptions=False)
    _, _, *rows = _cells(done.stdout)
    assert [row[0] for row in rows] == ["16", "20"], "numbers of photos that the split has"
    for row in rows:
        mean, worst = (float(part.strip("()")) for part in row[1].split())
        assert 0 < mean <= worst


def test_the_table_of_ranges(of_the_dataset: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        int8_recipes, "RANGES", (("as trained", "minmax"), ("equalized", "percentile"))
    )
    done = CliRunner().invoke(
        int8_recipes.main, ["ranges", *of_the_dataset], catch_exceptions=False
    )
    _, _, *rows = _cells(done.stdout)
    assert [row[:3] for row in rows] == [
        [channels, method, scheme]
        for channels, method in int8_recipes.RANGES
        for scheme in ("unsigned", "symmetric")
    ]
    assert min(float(row[3]) for row in rows) > 0


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for module in ("halnet.benchmarks.studies.recipes", "halnet.calibration.sessions"):
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "halnet.calibration.age_shift_meter")
    monkeypatch.delitem(sys.modules, int8_recipes.__name__)
    message = r"int8_recipes needs onnxruntime, .*'halnet\[export,onnxruntime,openvino\]'"
    with pytest.raises(RuntimeUnavailableError, match=message):
        importlib.import_module(int8_recipes.__name__)
