"""Equalization gives the same ages from channels with similar ranges."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from halnet.artifact import bundled
from halnet.calibration.age_shift_meter import AgeShiftMeter
from halnet.calibration.equalization import equalize, find_groups

UNEVEN = np.logspace(0, 1.3, 8)


def scaled(proto: Any, factors: dict[str, np.ndarray]) -> Any:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name in factors:
            values = numpy_helper.to_array(tensor) * factors[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return copy


@pytest.fixture
def uneven(tiny_graph: Any) -> Any:
    """The same function, with channels of the expansion twenty times as wide as others."""
    factors = UNEVEN[:, None, None, None]
    expand, deep = (f"network.features.1.block.{i}.0.weight" for i in (0, 1))
    return scaled(tiny_graph, {expand: factors, deep: 1 / factors})


def peaks(proto: Any, name: str, crops: np.ndarray) -> np.ndarray:
    import onnxruntime

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(copy.SerializeToString())
    return abs(session.run([name], {"image": crops})[0]).max(axis=(0, 2, 3))


def test_equalized_channels_give_the_same_ages(
    tiny_graph: Any, uneven: Any, crops: np.ndarray
) -> None:
    meter = AgeShiftMeter(tiny_graph, crops)
    assert meter(uneven).maximum < 1e-5
    before = peaks(uneven, "wide_relu", crops)
    assert before.max() > 10 * before[before > 0].min()
    equal = equalize(uneven, crops)
    assert meter(equal).maximum < 1e-5
    after = peaks(equal, "wide_relu", crops)
    np.testing.assert_allclose(after[before > 0], after.max(), rtol=1e-5)


def test_groups_end_where_the_factors_cannot_continue(tiny_graph: Any) -> None:
    groups = [group for group in find_groups(tiny_graph) if group.scalable]
    found = [
        (group.tensors, [n.name for n in group.producers], [n.name for n in group.consumers])
        for group in groups
    ]
    assert found == [  # the head, which is not a convolution, reads the mean of the sum
        (["wide_relu"], ["expand"], ["deep"]),
        (["deep_relu"], ["deep"], ["project"]),
    ]


def test_groups_of_the_bundled_model() -> None:
    """Factors pass residual sums, means and gates of squeeze-excitation, but not Hardswish."""
    groups = [group for group in find_groups(onnx.load(bundled("halnet.onnx"))) if group.scalable]

    def names(nodes: list[Any]) -> list[str]:
        return [
            node.input[1].removeprefix("network.features.").removesuffix(".weight")
            for node in nodes
        ]

    pairs = [(names(group.producers), names(group.consumers)) for group in groups]
    assert len(pairs) == 19
    assert (["4.block.1.0"], ["4.block.2.fc1", "4.block.3.0"]) in pairs
    assert (
        ["4.block.3.0", "5.block.3.0", "6.block.3.0"],
        ["5.block.0.0", "6.block.0.0", "7.block.0.0"],
    ) in pairs
    made = {name for producers, _ in pairs for name in producers}
    assert not made & {"0.0", "7.block.0.0", "11.block.2.squeeze.0", "16.0"}


@pytest.mark.parametrize("step", ["Sigmoid", "Neg", "output", "twice"])
def test_tensors_that_other_operations_read_are_not_scaled(tiny_graph: Any, step: str) -> None:
    if step == "output":
        shape = helper.make_tensor_value_info("wide", TensorProto.FLOAT, None)
        tiny_graph.graph.output.append(shape)
    elif step == "twice":  # weights that two convolutions share cannot have the factor of one
        expand = next(node for node in tiny_graph.graph.node if node.name == "expand")
        other = helper.make_node("Conv", ["stem_relu", expand.input[1]], ["unused"], "other")
        tiny_graph.graph.node.append(other)
    else:
        tiny_graph.graph.node.append(helper.make_node(step, ["wide"], ["unused"], "other"))
    scalable = [group.tensors for group in find_groups(tiny_graph) if group.scalable]
    assert scalable == [["deep_relu"]]


def test_a_channel_that_is_always_zero_stays_finite(tiny_graph: Any, crops: np.ndarray) -> None:
    alive = (UNEVEN > 1)[:, None, None, None]
    dead = scaled(tiny_graph, {"network.features.1.block.0.0.weight": alive})
    meter = AgeShiftMeter(dead, crops)
    assert meter(equalize(dead, crops)).maximum < 1e-5
