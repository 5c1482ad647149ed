from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from halnet.errors import ArtifactError
from halnet.export.opset import lower_opset, oldest_opset


def ages(model: Any, crops: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(["age"], {"image": crops})[0]


def copy(model: Any) -> Any:
    other = onnx.ModelProto()
    other.CopyFrom(model)
    return other


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("opset", "ir"), [(17, 8), (15, 8), (14, 7), (13, 7)])
def test_an_older_opset_gives_the_same_ages(
    graphs: dict[str, Any], precision: str, opset: int, ir: int, crops: np.ndarray
) -> None:
    model = copy(graphs[precision])
    assert model.opset_import[0].version == 18
    lower_opset(model, opset)
    assert (model.opset_import[0].version, model.ir_version) == (opset, ir)
    has_hard_swish = any(node.op_type == "HardSwish" for node in model.graph.node)
    assert has_hard_swish == (opset >= 14)
    found, expected = ages(model, crops), ages(graphs[precision], crops)
    np.testing.assert_allclose(found, expected, atol=0.05 if precision == "fp16" else 1e-4)


def test_an_older_model_keeps_its_opset(graphs: dict[str, Any]) -> None:
    model = copy(graphs["fp32"])
    lower_opset(model, 14)
    lower_opset(model, 17)
    assert (model.opset_import[0].version, model.ir_version) == (14, 7)


def test_an_operator_that_means_something_else_is_refused(graphs: dict[str, Any]) -> None:
    """The axes of ReduceMean became an input in opset 18."""
    model = copy(graphs["fp32"])
    (node,) = [n for n in model.graph.node if n.op_type == "ReduceSum" and n.output[0] == "age"]
    node.op_type = "ReduceMean"
    assert oldest_opset(graphs["fp32"]) == 14, "HardSwish"
    assert oldest_opset(model) == 18
    with pytest.raises(ArtifactError, match=r"opset 15: expected 18 or above, .* ReduceMean needs"):
        lower_opset(model, 15)
    with pytest.raises(ArtifactError, match="opset 12: expected 13 or above"):
        lower_opset(copy(graphs["fp32"]), 12)


def test_zeros_of_a_shape_keep_their_meaning() -> None:
    def shaped(values: list[int]) -> Any:
        node = onnx.helper.make_node("Reshape", ["image", "shape"], ["age"], allowzero=1)
        info = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 2)
            for name in ("image", "age")
        ]
        shape = onnx.numpy_helper.from_array(np.array(values), "shape")
        graph = onnx.helper.make_graph([node], "g", info[:1], info[1:], [shape])
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])

    plain, empty = shaped([-1, 3]), shaped([0, 3])
    lower_opset(plain, 13)
    assert ages(plain, np.zeros((2, 6), np.float32)).shape == (4, 3)
    with pytest.raises(ArtifactError, match="opset 13: expected 14 or above"):
        lower_opset(empty, 13)
    lower_opset(empty, 14)
    assert ages(empty, np.zeros((0, 6), np.float32)).shape == (0, 3)
