from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from halnet.artifact import bundled
from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.layers import find_layers
from halnet.calibration.quantizer import METHODS, Quantizer
from halnet.calibration.sensitivity import rank_layers
from halnet.errors import ArtifactError, ConfigError
from halnet.export.to_tensorrt import check_quantization


@pytest.fixture
def quantizer(tiny_graph: Any, crops: np.ndarray) -> Quantizer:
    return Quantizer(tiny_graph, crops)


def values(proto: Any) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def inputs_of(proto: Any, name: str) -> list[str]:
    return list(next(node for node in proto.graph.node if node.name == name).input)


def test_roles(tiny_graph: Any) -> None:
    found = [(layer.name, layer.role, layer.nodes) for layer in find_layers(tiny_graph)]
    assert found == [
        ("features.0.0", "stem", ("stem",)),
        ("features.1.block.0.0", "expansion", ("expand",)),
        ("features.1.block.1.0", "depthwise", ("deep",)),
        ("features.1.block.2.0", "projection", ("project",)),
        ("classifier.0", "head", ("head",)),
    ]


def test_roles_of_the_bundled_model() -> None:
    layers = find_layers(onnx.load(bundled("halnet.onnx")))
    assert Counter(layer.role for layer in layers) == {
        "stem": 1,
        "expansion": 15,  # of 14 blocks, and the last convolution
        "depthwise": 15,
        "projection": 15,
        "SE gate": 6,  # two in each of three blocks
        "CA gate": 15,  # three in each of five
        "head": 2,
    }
    shared = [layer for layer in layers if len(layer.nodes) == 2]
    assert [layer.name.rpartition(".block.")[2] for layer in shared] == ["2.squeeze.0"] * 5


def test_unsigned_integers(tiny_graph: Any, quantizer: Quantizer, crops: np.ndarray) -> None:
    proto = quantizer.quantize("unsigned")
    onnx.checker.check_model(proto, full_check=True)
    stored = values(proto)
    for layer in quantizer.quantizable:
        name = f"network.{layer.name}.weight_quantized"
        assert stored[name].dtype == np.int8
        peaks = np.abs(stored[name].reshape(len(stored[name]), -1)).max(axis=1)
        assert set(peaks) <= {63, 64}, "each channel fills 7 bits"
    # The last layer computes in floating point; its weights are stored in all of 8 bits.
    assert inputs_of(proto, "head")[0] == "flat"
    kept = stored["network.classifier.0.weight_int8"]
    assert kept.dtype == np.int8
    np.testing.assert_array_equal(abs(kept.astype(int)).max(axis=1), 127)
    exact = values(tiny_graph)["network.classifier.0.weight"]
    scales = stored["network.classifier.0.weight_scale"]
    np.testing.assert_allclose(kept * scales[:, None], exact, atol=scales.max() / 1.9)
    assert not [name for name, value in stored.items() if value.dtype == np.int32]
    points = [
        stored[node.input[2]] for node in proto.graph.node if node.op_type == "QuantizeLinear"
    ]
    assert {point.dtype for point in points} == {np.dtype(np.uint8)}
    shift = AgeShiftMeter(tiny_graph, crops, [30.0] * len(crops))(proto)
    assert 0 < shift.mean < 0.05
    with pytest.raises(ArtifactError, match="expected an int8 zero point of 0, found UINT8"):
        check_quantization(proto)


def test_symmetric_integers(tiny_graph: Any, quantizer: Quantizer, crops: np.ndarray) -> None:
    proto = quantizer.quantize("symmetric")
    check_quantization(proto)
    stored = values(proto)
    assert not [name for name, value in stored.items() if value.dtype == np.int32]
    assert stored["network.classifier.0.weight"].dtype == np.float32
    for layer in quantizer.quantizable:
        weights = stored[f"network.{layer.name}.weight_quantized"]
        assert np.abs(weights.astype(int)).max() == 127
    assert 0 < AgeShiftMeter(tiny_graph, crops)(proto).mean < 0.1


def test_a_kept_layer_computes_in_floating_point_with_what_follows_it(
    quantizer: Quantizer,
) -> None:
    proto = quantizer.quantize("unsigned", {"features.0.0", "features.1.block.2.0"})
    assert inputs_of(proto, "stem")[:2] == ["scaled", "network.features.0.0.weight"]
    assert inputs_of(proto, "stem_relu") == ["stem"]
    assert inputs_of(proto, "project")[1] == "network.features.1.block.2.0.weight"
    assert inputs_of(proto, "add")[0] == "narrow"
    assert inputs_of(proto, "expand")[1] != "network.features.1.block.0.0.weight"
    with pytest.raises(ConfigError, match="no layer features.99; --sensitivity lists them"):
        quantizer.quantize("unsigned", {"features.99"})


def test_layers_are_ranked_by_what_each_alone_does(
    tiny_graph: Any, quantizer: Quantizer, crops: np.ndarray
) -> None:
    meter = AgeShiftMeter(tiny_graph, crops, [30.0] * len(crops))
    ranking = rank_layers(quantizer, "unsigned", meter)
    assert {line.layer for line in ranking} == set(quantizer.quantizable)
    means = [line.shift.mean for line in ranking]
    assert means == sorted(means, reverse=True)
    assert means[-1] > 0


def test_every_method(tiny_graph: Any, crops: np.ndarray) -> None:
    """Each moves ages a little, and chooses ranges of its own."""
    meter = AgeShiftMeter(tiny_graph, crops)
    scales = []
    for method in METHODS:
        quantized = Quantizer(tiny_graph, crops, method).quantize("unsigned")
        assert 0 < meter(quantized).mean < 0.2
        scales.append({k: float(v.max()) for k, v in values(quantized).items() if "_scale" in k})
    widest, *others = scales
    for other in others:
        assert all(other[name] <= widest[name] * 1.0005 for name in widest)
        assert any(other[name] < widest[name] * 0.9995 for name in widest)


def test_a_fixed_batch(tiny_graph: Any, crops: np.ndarray) -> None:
    crops = crops.copy()
    crops[-1] = 255 * (crops[-1] > 127)  # the last one alone has the widest ranges
    expected = Quantizer(tiny_graph, crops).quantize("unsigned")
    shape = tiny_graph.graph.input[0].type.tensor_type.shape
    shape.dim[0].dim_value = 3  # five crops make two batches
    tiny_graph.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3
    found = Quantizer(tiny_graph, crops).quantize("unsigned")
    scales = {name: v for name, v in values(expected).items() if name.endswith("_scale")}
    assert scales
    for name, value in scales.items():
        np.testing.assert_array_equal(values(found)[name], value)
    assert AgeShiftMeter(tiny_graph, crops)(found).maximum < 0.2


def test_a_gauge_measures_years(tiny_graph: Any, crops: np.ndarray) -> None:
    meter = AgeShiftMeter(tiny_graph, crops, [1000.0] * len(crops))
    same = meter(tiny_graph)
    assert (same.mean, same.p99, same.maximum, same.delta_mae) == (0, 0, 0, 0)
    moved = onnx.ModelProto()
    moved.CopyFrom(tiny_graph)
    moved.graph.node[-1].output[0] = "almost"
    moved.graph.initializer.append(numpy_helper.from_array(np.float32(2), "two"))
    moved.graph.node.append(onnx.helper.make_node("Add", ["almost", "two"], ["age"], "older"))
    found = meter(moved, timed=True)
    assert found.mean == pytest.approx(2, abs=1e-4)
    assert found.delta_mae == pytest.approx(-2, abs=1e-4)  # nearer to 1000
    assert found.milliseconds is not None
    assert found.milliseconds > 0


def test_what_cannot_be_quantized(tiny_graph: Any, crops: np.ndarray) -> None:
    with pytest.raises(ArtifactError, match="is quantized already; quantize the checkpoint"):
        Quantizer(Quantizer(tiny_graph, crops).quantize("unsigned"), crops)
    with pytest.raises(ConfigError, match="method average: expected one of minmax, entropy"):
        Quantizer(tiny_graph, crops, "average")
    weights = next(t for t in tiny_graph.graph.initializer if t.name.endswith("1.block.0.0.weight"))
    dead = np.zeros(tuple(weights.dims), np.float32)
    weights.CopyFrom(numpy_helper.from_array(dead, weights.name))
    with pytest.raises(ArtifactError, match="is 0 on every calibration crop"):
        Quantizer(tiny_graph, crops)
    weights.CopyFrom(numpy_helper.from_array(dead * np.nan, weights.name))
    with pytest.raises(ArtifactError, match="its range is nan to nan"):
        Quantizer(tiny_graph, crops)


def test_integers_are_not_wasted_on_what_hardswish_drops(
    tiny_graph: Any, crops: np.ndarray
) -> None:
    (relu,) = (node for node in tiny_graph.graph.node if node.name == "stem_relu")
    relu.op_type = "HardSwish"
    wide = numpy_helper.from_array(np.float32(500), "wider")
    tiny_graph.graph.initializer.append(wide)
    (scale,) = (node for node in tiny_graph.graph.node if node.name == "normalise")
    scale.input[1] = "wider"
    stored = values(Quantizer(tiny_graph, crops).quantize("unsigned"))
    point, step = int(stored["stem_zero_point"]), float(stored["stem_scale"])
    assert (point, (255 - point) * step > 100) == (round(3 / step), True)
    symmetric = values(Quantizer(tiny_graph, crops).quantize("symmetric"))
    assert int(symmetric["stem_zero_point"]) == 0
