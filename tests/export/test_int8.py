"""INT8: quantizing with the photos of a dataset, within a budget, and all three artifacts."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from halnet.artifact import Metadata, bundled
from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import Budget
from halnet.calibration.crops import CalibrationCrops
from halnet.calibration.layers import find_layers
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError, DatasetError
from halnet.export import FORMATS, ExportConfig, Int8Config, export
from halnet.export.exporter import OnStep
from halnet.export.int8 import Int8
from halnet.export.samples import find_samples
from halnet.export.zero_points import check_zero_points
from halnet.network.checkpoint import Checkpoint, load_checkpoint
from halnet.runtimes.backends import describe, open_runtime


@pytest.fixture(scope="module")
def loaded() -> Checkpoint:
    """A checkpoint, which only synthetic crops and the faces of a folder need."""
    return load_checkpoint(bundled("halnet.safetensors"))


def silent(line: str) -> None:
    """Show nothing."""


def quantizer(config: Int8Config, checkpoint: Checkpoint, proto: Any, on_step: OnStep) -> Int8:
    """Find the photos, and measure the ranges of a graph on them."""
    return Int8(config, find_samples(config, checkpoint, on_step), proto, on_step)


def test_layers_are_kept_in_floating_point_until_the_budget_is_met(
    tiny_graph: Any, calibratable: Path, loaded: Checkpoint, tmp_path: Path
) -> None:
    data = PreparedDataset(calibratable)
    records = data.select("val")
    meter = AgeShiftMeter(tiny_graph, data.inner_crops(records), records)
    config = Int8Config((calibratable,), crops=16, keep=())
    everything, entry = quantizer(config, loaded, tiny_graph, silent).quantize(
        "unsigned", "onnxruntime", tmp_path
    )
    assert entry["kept"] == []
    worst = meter(everything).p99_bound
    budget = Budget(mae=10, p99=worst / 2)
    config = Int8Config((calibratable,), crops=16, budget=budget, sensitivity=True)
    lines: list[str] = []
    int8 = quantizer(config, loaded, tiny_graph, lines.append)
    proto, entry = int8.quantize("unsigned", "onnxruntime", tmp_path)
    assert 0 < meter(proto).p99_bound <= budget.p99
    assert 1 <= len(entry["kept"]) < 4
    assert entry["budget"] == {"mae": 10, "p99": worst / 2}
    assert entry["steps"][0]["kept"] == 0
    assert entry["steps"][0]["p99_bound"] == pytest.approx(worst)
    assert entry["crops"] == 16
    val = {record.source for record in records}
    assert len(entry["photos"]) == 16
    assert set(entry["photos"]) <= val
    assert any(line.startswith("0 layers kept in floating point: 99 %") for line in lines)
    assert sum(line.startswith("ranking") for line in lines) == 1, "the search uses the same one"
    with open(tmp_path / "sensitivity.unsigned.csv", encoding="utf-8", newline="") as file:
        ranking = [row["layer"] for row in csv.DictReader(file)]
    assert len(ranking) == 4
    network = [layer.name for layer in find_layers(tiny_graph)]
    kept = entry["kept"]
    assert kept in (network[: len(kept)], ranking[: len(kept)])
    assert (entry["weight_bits"], entry["made_for"]) == (
        *(7, "processors of any kind, also x86 without VNNI"),
    )
    assert (tmp_path / "sensitivity.unsigned.png").stat().st_size > 1000


def test_an_artifact_states_the_bits_of_its_weights(
    tiny_graph: Any, calibratable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.processor.CPU_INFO", tmp_path / "none")  # it is not known
    monkeypatch.setattr("halnet.export.to_onnx.trace", lambda *args: tiny_graph)
    config = Int8Config((calibratable,), crops=16, keep=(), weight_bits=8)
    export(ExportConfig(precisions=("fp32", "int8"), out=tmp_path, int8=config))
    stated = []
    for name in ("halnet.onnx", "halnet.int8.onnx"):
        properties = {p.key: p.value for p in onnx.load(tmp_path / name).metadata_props}
        stated.append(Metadata.from_properties(properties, name).weight_bits)
    assert stated == [0, 8]
    (entry,) = (
        entry["calibration"]
        for name, entry in json.loads((tmp_path / "manifest.json").read_text())["artifacts"].items()
        if name == "halnet.int8.onnx"
    )
    assert (entry["scheme"], entry["weight_bits"]) == ("unsigned 8", 8)
    assert "VNNI" in entry["made_for"]


def test_the_budget_is_checked_with_the_ages_of_each_runtime(
    tiny_graph: Any, calibratable: Path, loaded: Checkpoint, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    lines: list[str] = []
    config = Int8Config((calibratable,), crops=16, budget=Budget(mae=10, p99=10))
    int8 = quantizer(config, loaded, tiny_graph, lines.append)
    steps = {}
    for name, runtime in (
        ("onnx", "onnxruntime"),
        ("openvino", "openvino"),
        ("tensorrt", "onnxruntime"),
    ):
        _, entry = int8.quantize("unsigned", FORMATS[name].budget_runtime, tmp_path)
        assert entry["judged_in"] == runtime
        steps[name] = entry["steps"]
    assert steps["tensorrt"] == steps["onnx"], "searched once"
    # The integers are the same, but OpenVINO fuses other operations: ages differ a little.
    (first,), (second,) = steps["onnx"], steps["openvino"]
    assert first["mean"] != second["mean"]
    assert first["mean"] == pytest.approx(second["mean"], rel=0.3)
    assert sum("openvino)" in line for line in lines) == 1


def test_a_budget_that_cannot_be_met_leaves_nothing(
    tiny_graph: Any, calibratable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.export.to_onnx.trace", lambda *args: tiny_graph)
    monkeypatch.setattr("halnet.export.graph.simplify", lambda model: model)
    int8 = Int8Config((calibratable,), crops=16, budget=Budget(p99=1e-7))
    message = r"no INT8 model meets the budget with 95 % confidence: .* 1e-07 years"
    with pytest.raises(ArtifactError, match=message):
        export(ExportConfig(precisions=("int8",), out=tmp_path, int8=int8))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_all_three_artifacts(calibratable: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    keep = ("features.0.0", "features.2.block.0.0")
    config = ExportConfig(
        formats=("onnx", "openvino", "tensorrt"),
        precisions=("int8",),
        out=tmp_path,
        int8=Int8Config((calibratable,), crops=20, keep=keep),
    )
    made = export(config)
    assert [exported.path.name for exported in made] == [
        "halnet.int8.onnx",
        "halnet_int8_openvino_model",
        "halnet.int8.engine",
    ]
    crops = PreparedDataset(calibratable).inner_crops(PreparedDataset(calibratable).records[::20])
    with open_runtime(bundled("halnet.onnx"), "onnxruntime", "cpu") as runtime:
        expected = runtime.run(crops)
    ages = {}
    for exported, runtime_name in zip(made[:2], ("onnxruntime", "openvino"), strict=True):
        with open_runtime(exported.path, runtime_name, "cpu") as runtime:
            assert runtime.spec.metadata.precision == "int8"
            ages[runtime_name] = runtime.run(crops).age
    for found in ages.values():
        assert 1e-3 < np.abs(found - expected.age).mean() < 5
    # The integers are the same, and with weights of 7 bits their sums do not saturate.
    assert np.abs(ages["onnxruntime"] - ages["openvino"]).mean() < 0.5
    assert describe(made[2].path).metadata.precision == "int8"
    assert made[0].size < 0.4 * bundled("halnet.onnx").stat().st_size
    import openvino

    network = openvino.Core().read_model(made[1].path / "halnet.xml")
    kinds = {
        node.get_element_type().to_string()
        for node in network.get_ops()
        if node.get_type_name() == "Constant" and node.data.size >= 1024
    }
    assert kinds == {"i8", "f16"}  # layers kept in floating point are stored in half precision
    entries = json.loads((tmp_path / "manifest.json").read_text())["artifacts"]
    for exported, scheme in zip(made, ("unsigned", "unsigned", "symmetric"), strict=True):
        calibration = entries[exported.path.name]["calibration"]
        assert calibration["scheme"] == scheme
        assert calibration["kept"] == list(keep)
        assert "onnxruntime" in entries[exported.path.name]["versions"]
    proto = onnx.load(made[0].path)
    assert {t.data_type for t in proto.graph.initializer} >= {onnx.TensorProto.INT8}
    with pytest.raises(ArtifactError, match="quantize symmetrically for TensorRT"):
        check_zero_points(proto)


@pytest.mark.parametrize(
    ("dataset", "options", "error", "message"),
    [
        ("prepared", {}, DatasetError, "at least 16 photos of faces to calibrate on, found 12"),
        (
            "calibratable",
            {"crops": 15},
            DatasetError,
            "expected at least 16 calibration photos, found 15",
        ),
        (
            "calibratable",
            {"photos": Path("none")},
            ConfigError,
            "none: expected a folder of photos .*; name another one with --calibration",
        ),
    ],
)
def test_photos_that_cannot_calibrate_are_found_before_the_work(
    dataset: str,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("halnet.export.graph.simplify", lambda model: model)
    int8 = Int8Config((request.getfixturevalue(dataset),), **options)
    lines: list[str] = []
    config = ExportConfig(precisions=("fp32", "int8"), out=tmp_path, int8=int8)
    with pytest.raises(error, match=message):
        export(config, None, lines.append)
    assert not [line for line in lines if not line.startswith("finding faces")]
    assert not list(tmp_path.iterdir())


def test_crops_are_made_from_the_checkpoint_without_photos(
    tiny_graph: Any,
    crops: np.ndarray,
    loaded: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_from = []

    def make(checkpoint: Checkpoint, seed: int) -> CalibrationCrops:
        made_from.append((checkpoint, seed))
        return CalibrationCrops(crops, {"data": "made"})

    monkeypatch.setattr("halnet.export.samples.make_synthetic_crops", make)
    config = Int8Config(seed=3, budget=Budget(p99=10))
    _, entry = quantizer(config, loaded, tiny_graph, silent).quantize(
        "symmetric", "onnxruntime", tmp_path
    )
    assert made_from == [(loaded, 3)]
    assert (entry["data"], entry["crops"], entry["scheme"]) == ("made", 5, "symmetric")
    assert entry["steps"][0]["delta_mae"] is None, "the true ages are not known"


def test_several_datasets_calibrate_and_judge_together(
    tiny_graph: Any,
    calibratable: Path,
    make_prepared_folder: Callable[..., Path],
    loaded: Checkpoint,
    tmp_path: Path,
) -> None:
    """The second dataset has ranges of ages. The figures are those of a meter of both datasets."""
    folders = (calibratable, make_prepared_folder(400, "ranges", first=400, years=10))
    sets = [PreparedDataset(folder) for folder in folders]
    lines: list[str] = []
    config = Int8Config(folders, crops=16, budget=Budget(mae=20, p99=50))
    int8 = quantizer(config, loaded, tiny_graph, lines.append)
    proto, entry = int8.quantize("unsigned", "onnxruntime", tmp_path)
    data = DataCollection(sets)
    records = data.select("val")
    assert len(records) == 40
    found = AgeShiftMeter(tiny_graph, data.inner_crops(records), records)(proto)
    (step,) = entry["steps"]
    for name in ("mean", "p99_bound", "maximum", "delta_mae"):
        # The meter of the export starts from the equalized graph, whose ages are nearly the same.
        assert step[name] == pytest.approx(getattr(found, name), abs=0.01)
    assert "by_set" not in step, "each has fewer photos than are judged alone"
    assert entry["crops"] == 16
    assert {name: len(photos) for name, photos in entry["photos"].items()} == {
        "synthetic": 8,
        "ranges": 8,
    }
    assert entry["sets"] == {
        part.dataset: {"split": "val", "split_sha256": part.split_sha256, "photos": 20}
        for part in sets
    }
    assert "measuring ranges on 16 crops (8 of synthetic, 8 of ranges)" in lines
    assert f"mean error {step['delta_mae']:+.3f} years" in lines[-1]


def test_the_manifest_of_a_single_dataset_has_no_values_by_dataset(
    tiny_graph: Any, calibratable: Path, loaded: Checkpoint, tmp_path: Path
) -> None:
    config = Int8Config((calibratable,), crops=16, budget=Budget(mae=20, p99=50))
    _, entry = quantizer(config, loaded, tiny_graph, silent).quantize(
        "unsigned", "onnxruntime", tmp_path
    )
    assert set(entry) == {
        *("data", "seed", "photos", "crops", "method", "scheme", "weight_bits", "made_for"),
        *("kept", "budget", "judged_in", "steps"),
    }
    assert isinstance(entry["photos"], list)
    assert set(entry["steps"][0]) == {
        *("kept", "mean", "p99", "p99_bound", "maximum", "delta_mae", "milliseconds")
    }
