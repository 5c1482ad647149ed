"""Equalizing a network in PyTorch: the same ages, and the weights that the export would make."""

import numpy as np
import pytest
import torch
from onnx import numpy_helper

from halnet.artifact import bundled
from halnet.benchmarks.samples import sample_crops
from halnet.calibration.equalization import equalize
from halnet.export.graph import simplify
from halnet.export.to_onnx import trace
from halnet.network.checkpoint import load_checkpoint
from halnet.training.equalizing import equalize_network


def test_the_ages_stay_and_the_weights_are_those_of_the_export(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load_checkpoint(bundled("halnet.safetensors")).model
    crops = sample_crops()[::6]
    plain = trace(simplify(model))
    expected = equalize(plain, crops)
    with torch.inference_mode():
        before = model(torch.from_numpy(crops))[0].numpy()
    monkeypatch.setattr("halnet.training.equalizing.trace", lambda network: plain)  # the same
    assert equalize_network(model, crops) >= 8
    with torch.inference_mode():
        after = model(torch.from_numpy(crops))[0].numpy()
    np.testing.assert_allclose(after, before, atol=2e-3)
    unchanged, found, wanted = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        for proto in (plain, trace(simplify(model)), expected)
    )
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-3, atol=1e-5, err_msg=name)
    changed = [name for name in wanted if not np.array_equal(unchanged[name], wanted[name])]
    assert len(changed) > 20
