"""The steps before an export change the graph, but not its outputs."""

from typing import Any

import numpy as np
import pytest
import torch

from halnet.artifact import bundled
from halnet.calibration.layers import find_layers
from halnet.export.graph import STEPS, layer_names, round_to_half, simplify
from halnet.network.attention import CoordinateAttention
from halnet.network.checkpoint import load_checkpoint
from halnet.network.model import AgeNet


@pytest.fixture(scope="module")
def model() -> AgeNet:
    """A trained network, because the batch norms of a fresh one change nothing."""
    return load_checkpoint(bundled("halnet.safetensors")).model


@pytest.mark.parametrize("steps", [*((name,) for name in STEPS), tuple(STEPS)])
def test_every_step_gives_the_same_ages(
    model: AgeNet, steps: tuple[str, ...], crops: np.ndarray
) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.from_numpy(crops)
    simplified = simplify(model, steps)
    with torch.inference_mode():
        expected, found = model(images), simplified(images)
    assert expected[0].std() > 1
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], msg=f"{name} of the original changed")


def test_each_step_replaces_its_modules(model: AgeNet) -> None:
    def count(steps: tuple[str, ...], kind: type) -> int:
        return sum(isinstance(module, kind) for module in simplify(model, steps).modules())

    assert count((), CoordinateAttention) == 5
    assert count(("attention",), CoordinateAttention) == 0
    assert count((), torch.nn.BatchNorm2d) == 51
    assert count(("folding",), torch.nn.BatchNorm2d) == 0
    assert count(tuple(STEPS), torch.nn.BatchNorm2d) == 0
    assert count((), torch.nn.AdaptiveAvgPool2d) > count(("pooling",), torch.nn.AdaptiveAvgPool2d)
    assert count(("pooling",), torch.nn.AdaptiveAvgPool2d) == 0


def test_rounding_to_half_keeps_the_sum_of_each_kernel(model: AgeNet) -> None:
    simplified = simplify(model)
    rounded = dict(round_to_half(simplified).network.named_parameters())
    for name, weight in simplified.network.named_parameters():
        nearest, found = weight.half().float(), rounded[name]
        assert torch.equal(found, found.half().float()), name
        if weight.ndim == 4 and weight.shape[-1] > 1:
            sums = [(w - weight).double().sum((2, 3)).abs().mean() for w in (nearest, found)]
            assert sums[1] < sums[0] / 4, name
        else:
            assert torch.equal(found, nearest), name


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_names_of_the_layers_are_those_in_the_graph(
    precision: str, model: AgeNet, graphs: dict[str, Any]
) -> None:
    """The names are known before the network is traced."""
    names = layer_names(simplify(model))
    assert len(names) == len(set(names))
    assert set(names) == {layer.name for layer in find_layers(graphs[precision])}
