from typing import Any

import numpy as np
import onnx
import pytest

from halnet.errors import ArtifactError
from halnet.export.zero_points import check_zero_points


def quantized_by(point: Any) -> Any:
    """Return a graph of one QuantizeLinear node with this zero point, or without one."""
    values = {"x_scale": np.float32(0.1)} | ({} if point is None else {"x_zero": point})
    node = onnx.helper.make_node("QuantizeLinear", ["x", *values], ["y"], name="q")
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])],
        [onnx.helper.make_empty_tensor_value_info("y")],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in values.items()],
    )
    return onnx.helper.make_model(graph)


@pytest.mark.parametrize(
    ("point", "found"), [(np.uint8(0), "UINT8"), (np.int8(3), "another value"), (None, "none")]
)
def test_zero_points_that_tensorrt_would_misread_are_refused(point: Any, found: str) -> None:
    with pytest.raises(ArtifactError, match=f"node q: expected an int8 zero point of 0, .*{found}"):
        check_zero_points(quantized_by(point))


def test_an_int8_zero_point_of_0_is_accepted() -> None:
    check_zero_points(quantized_by(np.int8(0)))
