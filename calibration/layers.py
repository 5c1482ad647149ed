"""Layers: the parts of a traced graph that can be quantized, with their names and roles."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from halnet.errors import ConfigError

ROLES = ("stem", "expansion", "depthwise", "projection", "SE gate", "CA gate", "head")
OPERATORS = ("Conv", "Gemm", "MatMul")
# Parts of layer names in our own modules, in torchvision and in timm.
CA_PARTS = {"squeeze", "gate_h", "gate_w"}
SE_PARTS = {"fc1", "fc2", "conv_reduce", "conv_expand"}


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer."""

    name: str  # name of its module, such as features.2.block.0.0
    role: str  # one of ROLES
    nodes: tuple[str, ...]  # names of its nodes; weights that are used twice have two nodes


def find_layers(proto: Any) -> tuple[Layer, ...]:
    """Return the layers of a traced ONNX model, in the order of its graph."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    found: dict[str, Layer] = {}
    for node in proto.graph.node:
        if node.op_type not in OPERATORS or len(node.input) < 2 or node.input[1] not in shapes:
            continue
        weight = node.input[1]
        name = weight.removesuffix(".weight").removeprefix("model.").removeprefix("network.")
        nodes = (*found[name].nodes, node.name) if name in found else (node.name,)
        found[name] = Layer(name, _role(node, name, shapes[weight]), nodes)
    return tuple(found.values())


def check_names(names: Set[str], layers: Sequence[Layer]) -> None:
    """Raise ConfigError if a name belongs to none of the layers."""
    unknown = names - {layer.name for layer in layers}
    if unknown:
        raise ConfigError(
            f"--keep-float: no layer is named {', '.join(sorted(unknown))}; --sensitivity lists "
            "the names"
        )


def count_groups(node: Any) -> int:
    """Return the number of groups of a convolution, 1 where every output reads all channels."""
    return next((int(a.i) for a in node.attribute if a.name == "group"), 1)


def _role(node: Any, name: str, shape: tuple[int, ...]) -> str:
    """Return the role of a layer with weights of this shape, outputs first."""
    parts = set(name.split("."))
    if parts & CA_PARTS:
        return "CA gate"
    if parts & SE_PARTS:
        return "SE gate"
    if node.op_type != "Conv":
        return "head"
    if count_groups(node) > 1:
        return "depthwise"
    if shape[2:] != (1, 1):
        return "stem"
    return "expansion" if shape[0] > shape[1] else "projection"
