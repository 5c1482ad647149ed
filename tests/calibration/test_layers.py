from collections import Counter
from typing import Any

import onnx

from halnet.artifact import bundled
from halnet.calibration.layers import ROLES, count_groups, find_layers


def test_layers_have_the_names_of_their_modules_and_a_role(tiny_graph: Any) -> None:
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
    counts = Counter(layer.role for layer in layers)
    assert counts == {
        "stem": 1,
        "expansion": 15,  # of 14 blocks, and the last convolution
        "depthwise": 15,
        "projection": 15,
        "SE gate": 6,  # two in each of three blocks
        "CA gate": 15,  # three in each of five
        "head": 2,
    }
    assert set(counts) == set(ROLES)


def test_weights_that_are_used_twice_are_one_layer() -> None:
    layers = find_layers(onnx.load(bundled("halnet.onnx")))
    shared = [layer for layer in layers if len(layer.nodes) == 2]
    assert [layer.name.rpartition(".block.")[2] for layer in shared] == ["2.squeeze.0"] * 5


def test_groups_of_a_convolution(tiny_graph: Any) -> None:
    nodes = {node.name: node for node in tiny_graph.graph.node}
    assert count_groups(nodes["deep"]) == 8
    assert count_groups(nodes["expand"]) == 1
