from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.methods import METHODS
from halnet.calibration.quantizer import Quantizer
from halnet.datasets.record import Record
from halnet.errors import ArtifactError, ConfigError
from halnet.export.zero_points import check_zero_points
from halnet.network.int8_levels import LEVELS, WEIGHT_LEVELS


@pytest.fixture
def quantizer(tiny_graph: Any, crops: np.ndarray) -> Quantizer:
    return Quantizer(tiny_graph, crops)


def values(proto: Any) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def inputs_of(proto: Any, name: str) -> list[str]:
    return list(next(node for node in proto.graph.node if node.name == name).input)


def test_the_integers_of_the_unsigned_scheme(
    tiny_graph: Any, quantizer: Quantizer, crops: np.ndarray
) -> None:
    proto = quantizer.quantize("unsigned")
    onnx.checker.check_model(proto, full_check=True)
    stored = values(proto)
    for layer in quantizer.quantizable:
        name = f"network.{layer.name}.weight_quantized"
        assert stored[name].dtype == np.int8
        peaks = np.abs(stored[name].reshape(len(stored[name]), -1)).max(axis=1)
        assert set(peaks) == {WEIGHT_LEVELS}, "each channel fills 7 bits"
    # The last layer computes in floating point, but its weights are stored in 8 bits.
    assert inputs_of(proto, "head")[0] == "flat"
    kept = stored["network.classifier.0.weight_int8"]
    assert kept.dtype == np.int8
    np.testing.assert_array_equal(abs(kept.astype(int)).max(axis=1), LEVELS)
    exact = values(tiny_graph)["network.classifier.0.weight"]
    scales = stored["network.classifier.0.weight_scale"]
    np.testing.assert_allclose(kept * scales[:, None], exact, atol=scales.max() / 1.9)
    assert not [name for name, value in stored.items() if value.dtype == np.int32]
    points = [
        stored[node.input[2]] for node in proto.graph.node if node.op_type == "QuantizeLinear"
    ]
    assert {point.dtype for point in points} == {np.dtype(np.uint8)}
    shift = AgeShiftMeter(tiny_graph, crops, [Record("", 30, 30)] * len(crops))(proto)
    assert 0 < shift.mean < 0.05
    with pytest.raises(ArtifactError, match="expected an int8 zero point of 0, found UINT8"):
        check_zero_points(proto)


def test_weights_of_8_bits_have_the_finest_steps(
    tiny_graph: Any, quantizer: Quantizer, crops: np.ndarray
) -> None:
    proto = quantizer.quantize("unsigned 8")
    stored = values(proto)
    for layer in quantizer.quantizable:
        weights = stored[f"network.{layer.name}.weight_quantized"]
        peaks = np.abs(weights.astype(int).reshape(len(weights), -1)).max(axis=1)
        assert set(peaks) <= {LEVELS, LEVELS + 1}
        assert peaks.max() >= LEVELS
    points = [
        stored[node.input[2]] for node in proto.graph.node if node.op_type == "QuantizeLinear"
    ]
    assert {point.dtype for point in points} == {np.dtype(np.uint8)}, "as with 7 bits"


def test_the_integers_of_the_symmetric_scheme(
    tiny_graph: Any, quantizer: Quantizer, crops: np.ndarray
) -> None:
    proto = quantizer.quantize("symmetric")
    check_zero_points(proto)
    stored = values(proto)
    assert not [name for name, value in stored.items() if value.dtype == np.int32]
    assert stored["network.classifier.0.weight"].dtype == np.float32
    for layer in quantizer.quantizable:
        weights = stored[f"network.{layer.name}.weight_quantized"]
        assert np.abs(weights.astype(int)).max() == LEVELS
    assert 0 < AgeShiftMeter(tiny_graph, crops)(proto).mean < 0.1


def test_layers_with_the_same_weights_read_dq_nodes_of_their_own(
    tiny_graph: Any, crops: np.ndarray
) -> None:
    """ONNX Runtime 1.15 and 1.16 do not run a model in which two layers read the same DQ node."""
    (project,) = (node for node in tiny_graph.graph.node if node.name == "project")
    twin = tiny_graph.graph.node.add()
    twin.CopyFrom(project)
    twin.name, twin.output[0] = "twin", "twin"
    (add,) = (node for node in tiny_graph.graph.node if node.name == "add")
    add.input[1] = "twin"
    proto = Quantizer(tiny_graph, crops).quantize("unsigned")
    onnx.checker.check_model(proto, full_check=True)
    makers = {node.output[0]: node for node in proto.graph.node}
    first, second = (inputs_of(proto, name)[1] for name in ("project", "twin"))
    assert first != second
    assert list(makers[first].input) == list(makers[second].input), "the integers are stored once"


def test_a_kept_layer_and_the_operations_after_it_compute_in_floating_point(
    quantizer: Quantizer,
) -> None:
    proto = quantizer.quantize("unsigned", {"features.0.0", "features.1.block.2.0"})
    assert inputs_of(proto, "stem")[:2] == ["scaled", "network.features.0.0.weight"]
    assert inputs_of(proto, "stem_relu") == ["stem"]
    assert inputs_of(proto, "project")[1] == "network.features.1.block.2.0.weight"
    assert inputs_of(proto, "add")[0] == "narrow"
    assert inputs_of(proto, "expand")[1] != "network.features.1.block.0.0.weight"
    with pytest.raises(ConfigError, match="no layer is named features.99; --sensitivity lists"):
        quantizer.quantize("unsigned", {"features.99"})


def test_every_method_chooses_its_own_ranges(tiny_graph: Any, crops: np.ndarray) -> None:
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


def test_a_fixed_batch_size_gives_the_same_ranges(tiny_graph: Any, crops: np.ndarray) -> None:
    crops = crops.copy()
    crops[-1] = 255 * (crops[-1] > 127)  # only the last crop has the widest ranges
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


def test_a_quantized_graph_is_refused(tiny_graph: Any, crops: np.ndarray) -> None:
    quantized = Quantizer(tiny_graph, crops).quantize("unsigned")
    with pytest.raises(ArtifactError, match="already quantized; quantize the checkpoint"):
        Quantizer(quantized, crops)


def test_an_unknown_method_is_refused(tiny_graph: Any, crops: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="method average: expected one of minmax, entropy"):
        Quantizer(tiny_graph, crops, "average")


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (0.0, "expected different values on the calibration crops, found only 0"),
        (np.nan, "expected a finite range on the calibration crops, found nan to nan"),
    ],
)
@pytest.mark.filterwarnings("ignore:All-NaN axis:RuntimeWarning")
def test_a_tensor_without_a_range_is_refused(
    tiny_graph: Any, crops: np.ndarray, weight: float, message: str
) -> None:
    weights = next(t for t in tiny_graph.graph.initializer if t.name.endswith("1.block.0.0.weight"))
    values = np.full(tuple(weights.dims), weight, np.float32)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    with pytest.raises(ArtifactError, match=message):
        Quantizer(tiny_graph, crops)


def test_no_integers_are_wasted_on_values_that_hardswish_does_not_distinguish(
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
