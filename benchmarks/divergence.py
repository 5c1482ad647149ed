"""Divergence: finds the first node of an FP16 graph whose output differs from the FP32 graph's."""

from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME
from halnet.evaluation.parity import Divergence
from halnet.packages import needs
from halnet.runtimes.base import Crops
from halnet.runtimes.onnx_file import read_onnx

# Share of a tensor's largest value. FP16 has 11 bits, so one rounding changes a value by 0.05 %.
THRESHOLD = 0.05


def first_divergence(artifact: Path, crops: Crops) -> Divergence | None:
    """Return the first node of `NAME.fp16.onnx` whose output differs from that in `NAME.onnx`.

    The FP32 file lies beside the artifact. `crops` are N x 224 x 224 x 3 uint8 RGB. The result is
    None where the artifact has another format, the FP32 file is missing, or no output differs by
    more than `THRESHOLD`. Raises RuntimeUnavailableError where a library is missing.
    """
    full = artifact.with_name(artifact.name.replace(".fp16.onnx", ".onnx"))
    if full == artifact or not full.exists():
        return None
    with needs("comparing the nodes of two graphs", "export,onnxruntime"):
        import onnx
        import onnxruntime  # noqa: F401  # runs the graphs
    found = onnx.load_from_string(read_onnx(artifact))
    expected = onnx.load_from_string(read_onnx(full))
    known = {name for node in expected.graph.node for name in node.output}
    nodes = [node for node in found.graph.node if node.output[0] in known]
    names = [node.output[0] for node in nodes]
    found_values, expected_values = (_run(model, names, crops) for model in (found, expected))
    for node, value, expected_value in zip(nodes, found_values, expected_values, strict=True):
        difference = _difference(value, expected_value)
        if not difference <= THRESHOLD:  # this also finds NaN
            return Divergence(node.name, node.op_type, difference)
    return None


def _run(model: Any, names: list[str], crops: Crops) -> list[Any]:
    """Return the values of the named tensors."""
    from halnet.calibration.sessions import open_session, with_outputs

    session = open_session(with_outputs(model, names))
    return list(session.run(names, {INPUT_NAME: crops}))


def _difference(value: Any, expected: Any) -> float:
    """Return the largest difference as a share of the largest expected value; inf if not finite."""
    if value.shape != expected.shape:
        return 0.0  # the two graphs use this name for different tensors
    largest = np.abs(value.astype(np.float64) - expected).max()
    return float(largest / max(np.abs(expected).max(), 1e-6)) if np.isfinite(largest) else np.inf
