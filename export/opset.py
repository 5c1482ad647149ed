"""The opset: lowers an ONNX graph to older versions of its operators, which older runtimes open."""

from typing import Any

import onnx
from onnx import helper, numpy_helper

from halnet.errors import ArtifactError

OLDEST = 11  # the first opset with Conv as it is until 22; no model is lowered further
HARD_SWISH = 14  # the first opset with the operator HardSwish
# In the opsets after OLDEST, these operators got further types and nothing else.
SAME_MEANING = {
    *("Add", "Cast", "Div", "Flatten", "Gemm", "Identity", "MatMul", "Mul", "Pow", "Relu"),
    *("Sigmoid", "Sub", "Transpose"),
}


def lower_opset(model: Any, opset: int) -> None:
    """Lower the opset of an ONNX model in place, and its IR version to the oldest that has it.

    The outputs stay the same, because each operator means the same in the older opset, or is
    replaced by operators that compute the same. A model with an older opset keeps its own. Raises
    ArtifactError if the model has an operator that is newer than `opset`.
    """
    _drop_allowzero(model.graph)
    if opset < HARD_SWISH:
        _replace_hard_swish(model.graph)
    oldest, operator = _newest_operator(model)
    if opset < oldest:
        raise ArtifactError(
            f"opset {opset}: expected {oldest} or above, which the operator {operator} needs; "
            f"choose at least {oldest}"
        )
    entry = _opset(model)
    entry.version = min(entry.version, opset)
    needed = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = min(model.ir_version, needed)
    onnx.checker.check_model(model, full_check=True)


def oldest_opset(model: Any) -> int:
    """Return the oldest opset that an ONNX model can be lowered to with the operators it has."""
    return _newest_operator(model)[0]


def _newest_operator(model: Any) -> tuple[int, str]:
    """Return the oldest opset in which all operators mean the same, and the one that decides it."""
    opset = _opset(model).version
    return max([(OLDEST, "Conv"), *((_first_opset(n, opset), n.op_type) for n in _nodes(model))])


def _first_opset(node: Any, opset: int) -> int:
    """Return the first opset in which a node of a graph of `opset` means what it means there."""
    if node.op_type in SAME_MEANING or (node.op_type == "Reshape" and not node.attribute):
        return OLDEST
    return int(onnx.defs.get_schema(node.op_type, opset, "").since_version)


def _nodes(model: Any) -> list[Any]:
    """Return the nodes whose operators belong to the standard. Others have opsets of their own."""
    return [node for node in model.graph.node if node.domain in ("", "ai.onnx")]


def _opset(model: Any) -> Any:
    (entry,) = (entry for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return entry


def _drop_allowzero(graph: Any) -> None:
    """Remove `allowzero` from reshapes without zeros, where it changes nothing.

    ONNX Runtime 1.10 does not reshape to (-1, C) where it is set.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        shape = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is not None and numpy_helper.to_array(shape).all():
            del node.attribute[:]


def _replace_hard_swish(graph: Any) -> None:
    """Replace each HardSwish by its definition: x times HardSigmoid of x."""
    for index, node in reversed(list(enumerate(graph.node))):
        if node.op_type == "HardSwish":
            (x,), (y,) = node.input, node.output
            gate = f"{y}_gate"
            sigmoid = helper.make_node("HardSigmoid", [x], [gate], f"{node.name}_gate", alpha=1 / 6)
            product = helper.make_node("Mul", [x, gate], [y], node.name)
            graph.node.remove(node)
            graph.node.insert(index, product)
            graph.node.insert(index, sigmoid)
