"""Divergence: the first node at which a half-precision graph leaves its FP32 twin."""

from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME
from halnet.evaluation.parity import Divergence
from halnet.packages import needs
from halnet.runtimes.base import Crops
from halnet.runtimes.onnx_file import read_onnx

# Of the largest value of a tensor; half precision keeps 11 bits, 0.05 %, a step.
THRESHOLD = 0.05


def first_divergence(artifact: Path, crops: Crops) -> Divergence | None:
    """Return the first node of `NAME.fp16.onnx` that leaves `NAME.onnx`, which lies beside it.

    None where the artifact is of another format, the twin is missing, or no node leaves it.
    """
    twin = artifact.with_name(artifact.name.replace(".fp16.onnx", ".onnx"))
    if twin == artifact or not twin.exists():
        return None
    with needs("comparing the nodes of two graphs", "export"):
        import onnx
    found = onnx.load_from_string(read_onnx(artifact))
    expected = onnx.load_from_string(read_onnx(twin))
    twins = {name for node in expected.graph.node for name in node.output}
    nodes = [node for node in found.graph.node if node.output[0] in twins]
    names = [node.output[0] for node in nodes]
    values, wanted = (_values(model, names, crops) for model in (found, expected))
    for node, value, want in zip(nodes, values, wanted, strict=True):
        distance = _distance(value, want)
        if not distance <= THRESHOLD:
            return Divergence(node.name, node.op_type, distance)
    return None


def _values(model: Any, names: list[str], crops: Crops) -> list[Any]:
    from halnet.calibration.sessions import open_session, with_outputs

    session = open_session(with_outputs(model, names))
    return list(session.run(names, {INPUT_NAME: crops}))


def _distance(value: Any, want: Any) -> float:
    if value.shape != want.shape:
        return 0.0  # the name stands for another thing there
    difference = np.abs(value.astype(np.float64) - want).max()
    return float(difference / max(np.abs(want).max(), 1e-6)) if np.isfinite(difference) else np.inf
