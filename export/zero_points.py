"""Zero points: checks that TensorRT reads the integers of a graph as they are meant."""

from typing import Any

import onnx

from halnet.errors import ArtifactError


def check_zero_points(proto: Any) -> None:
    """Raise ArtifactError where a Q/DQ node of an ONNX model has no int8 zero point of 0.

    TensorRT supports no other zero point. It reads a uint8 zero point and a missing one as int8
    without an error, so that values saturate.
    """
    points = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        point = points.get(node.input[2]) if len(node.input) > 2 else None
        kind = "none" if point is None else onnx.TensorProto.DataType.Name(point.data_type)
        if point is None or kind != "INT8" or onnx.numpy_helper.to_array(point).any():
            raise ArtifactError(
                f"node {node.name}: expected an int8 zero point of 0, found "
                f"{kind if kind != 'INT8' else 'another value'}; quantize symmetrically for "
                "TensorRT"
            )
