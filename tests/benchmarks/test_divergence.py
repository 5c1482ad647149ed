"""The first node whose output diverges in half precision is found and named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from halnet.benchmarks.divergence import first_divergence
from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.export import Target
from halnet.export.to_onnx import write_onnx
from halnet.network.checkpoint import load_checkpoint


def test_the_node_that_overflows_is_named(
    graphs: dict[str, Any],
    checkpoint: Path,
    crops: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A few crops are compared, because the outputs of all nodes are, which are large."""
    monkeypatch.setattr("halnet.benchmarks.parity.sample_crops", lambda: crops)
    full, half = tmp_path / "halnet.onnx", tmp_path / "halnet.fp16.onnx"
    metadata = load_checkpoint(checkpoint).metadata
    for path, precision in ((full, "fp32"), (half, "fp16")):
        write_onnx(graphs[precision], replace(metadata, precision=precision), path, Target())
    assert first_divergence(half, crops[:1]) is None, "the two graphs agree"
    # Both get the same weights, which are so large that the node's sums exceed 65504.
    victim = "network.features.4.block.0.0.weight"
    for path in (full, half):
        model = onnx.load(path)
        (weight,) = (t for t in model.graph.initializer if t.name.endswith(victim))
        values = onnx.numpy_helper.to_array(weight)
        factor = values.dtype.type(30000 / np.abs(values).max())
        weight.CopyFrom(onnx.numpy_helper.from_array(values * factor, weight.name))
        onnx.save(model, path)
        (node,) = (n.name for n in model.graph.node if weight.name in n.input)
    found = first_divergence(half, crops[:1])
    assert found is not None
    assert (found.node, found.operator, found.error) == (node, "Conv", np.inf)
    parity = Verifier(VerifyConfig(checkpoint))(half)
    assert not parity.passed
    assert parity.divergence is not None
    assert parity.divergence.operator == "Conv"


def test_nothing_is_compared_without_the_fp32_graph(
    onnx_artifact: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    alone = tmp_path / "halnet.fp16.onnx"
    alone.write_bytes(onnx_artifact.read_bytes())
    assert first_divergence(alone, crops) is None
    assert first_divergence(onnx_artifact, crops) is None
