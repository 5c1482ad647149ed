"""INT8: quantizing by a dataset, inside a budget, and all three artifacts of it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from halnet.artifact import bundled
from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.budget import Budget
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError, DatasetError
from halnet.export import ExportConfig, export
from halnet.export.config import Int8Config
from halnet.export.int8 import Int8
from halnet.export.to_tensorrt import check_quantization
from halnet.runtimes.backends import describe, open_runtime

NOWHERE = Path("no checkpoint is read")


def silent(line: str) -> None:
    """Show nothing."""


def test_layers_are_given_back_until_the_budget_holds(
    tiny_graph: Any, calibratable: Path, tmp_path: Path
) -> None:
    data = PreparedDataset(calibratable)
    records = data.select("val")
    meter = AgeShiftMeter(tiny_graph, data.inner_crops(records), [record.age for record in records])
    config = Int8Config(calibratable, crops=16, keep=())
    everything, stated = Int8(config, NOWHERE, tiny_graph, silent).quantize(
        "unsigned", "onnxruntime", tmp_path
    )
    assert stated["kept"] == []
    worst = meter(everything).p99_bound
    budget = Budget(mae=10, p99=worst / 2)
    config = Int8Config(calibratable, crops=16, budget=budget, sensitivity=True)
    lines: list[str] = []
    int8 = Int8(config, NOWHERE, tiny_graph, lines.append)
    proto, stated = int8.quantize("unsigned", "onnxruntime", tmp_path)
    assert 0 < meter(proto).p99_bound <= budget.p99
    assert 1 <= len(stated["kept"]) < 4
    assert stated["budget"] == {"mae": 10, "p99": worst / 2}
    assert stated["steps"][0]["kept"] == 0
    assert stated["steps"][0]["p99_bound"] == pytest.approx(worst)
    assert stated["crops"] == 16
    val = {record.source for record in records}
    assert len(stated["photos"]) == 16
    assert set(stated["photos"]) <= val
    assert any(line.startswith("0 layers in floating point: p99") for line in lines)
    with open(tmp_path / "sensitivity.unsigned.csv", encoding="utf-8", newline="") as file:
        ranking = [row["layer"] for row in csv.DictReader(file)]
    assert len(ranking) == 4
    assert ranking[: len(stated["kept"])] == stated["kept"]
    assert (tmp_path / "sensitivity.unsigned.png").stat().st_size > 1000


def test_each_runtime_is_judged_by_itself(
    tiny_graph: Any, calibratable: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    lines: list[str] = []
    config = Int8Config(calibratable, crops=16, budget=Budget(mae=10, p99=10))
    int8 = Int8(config, NOWHERE, tiny_graph, lines.append)
    steps = {}
    for runtime, judge in (
        ("onnxruntime", "onnxruntime"),
        ("openvino", "openvino"),
        ("tensorrt", "onnxruntime"),
    ):
        _, stated = int8.quantize("unsigned", runtime, tmp_path)
        assert stated["judged_in"] == judge
        steps[runtime] = stated["steps"]
    assert steps["tensorrt"] == steps["onnxruntime"]  # searched once
    # The same integers: OpenVINO fuses other steps, so that ages differ, but hardly.
    (first,), (second,) = steps["onnxruntime"], steps["openvino"]
    assert first["mean"] != second["mean"]
    assert first["mean"] == pytest.approx(second["mean"], rel=0.3)
    assert sum("openvino)" in line for line in lines) == 1


def test_a_budget_that_nothing_holds_leaves_nothing(
    tiny_graph: Any, calibratable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.export.to_onnx.trace", lambda *args: tiny_graph)
    monkeypatch.setattr("halnet.export.graph.prepare", lambda model: model)
    int8 = Int8Config(calibratable, crops=16, budget=Budget(p99=1e-7))
    with pytest.raises(ArtifactError, match=r"no INT8 graph surely moves ages by less .*1e-07"):
        export(ExportConfig(precisions=("int8",), out=tmp_path, int8=int8))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_all_three_artifacts(calibratable: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    keep = ("features.0.0", "features.2.block.0.0")
    config = ExportConfig(
        formats=("onnx", "openvino", "tensorrt"),
        precisions=("int8",),
        out=tmp_path,
        int8=Int8Config(calibratable, crops=20, keep=keep),
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
        assert 1e-3 < np.abs(found - expected.age).mean() < 2
    # The same integers, whose sums are rounded and saturated alike: 7-bit weights see to it.
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
    assert kinds == {"i8", "f16"}  # the layers kept are stored in half precision
    entries = json.loads((tmp_path / "manifest.json").read_text())["artifacts"]
    for exported, scheme in zip(made, ("unsigned", "unsigned", "symmetric"), strict=True):
        calibration = entries[exported.path.name]["calibration"]
        assert calibration["scheme"] == scheme
        assert calibration["kept"] == list(keep)
        assert "onnxruntime" in entries[exported.path.name]["versions"]
    proto = onnx.load(made[0].path)
    assert {t.data_type for t in proto.graph.initializer} >= {onnx.TensorProto.INT8}
    with pytest.raises(ArtifactError, match="quantize symmetrically for TensorRT"):
        check_quantization(proto)


def test_wrong_requests(calibratable: Path, prepared: Path, tiny_graph: Any) -> None:
    with pytest.raises(ConfigError, match=r"of the precision int8, .*\(found fp32\)"):
        ExportConfig(int8=Int8Config(crops=64))
    with pytest.raises(ConfigError, match="samples: expected at least 1, found 0"):
        Int8Config(crops=0)
    with pytest.raises(ConfigError, match="a detector is for a folder of photos"):
        Int8Config(detector=NOWHERE)
    cases: list[tuple[Int8Config, str]] = [
        (Int8Config(prepared), "at least 16 photos of faces to calibrate on, found 12"),
        (Int8Config(calibratable, crops=21), "expected 16 to 20 photos.*found 21"),
    ]
    for config, message in cases:
        with pytest.raises(DatasetError, match=message):
            Int8(config, NOWHERE, tiny_graph, silent)


def test_the_test_split_does_not_calibrate(
    aaf_prepared: Path, aaf_sample: Path, tiny_graph: Any
) -> None:
    config = Int8Config(aaf_prepared, photos=aaf_sample / "original images")
    with pytest.raises(DatasetError, match="of its photos are of the test split"):
        Int8(config, NOWHERE, tiny_graph, silent)
