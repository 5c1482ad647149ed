from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from halnet.artifact import bundled
from halnet.benchmarks.samples import sample_crops
from halnet.calibration.quantizer import Quantizer
from halnet.calibration.sessions import open_age_function
from halnet.errors import ConfigError
from halnet.export.graph import simplify
from halnet.export.to_onnx import trace
from halnet.network.checkpoint import load_checkpoint
from halnet.training.config import TrainConfig
from halnet.training.equalizing import equalize_network
from halnet.training.quantization import (
    int8_logits,
    int8_loss,
    round_activations,
    round_weights,
)
from halnet.training.trainer import train


def test_weights_are_rounded_to_integers_of_each_channel() -> None:
    weight = torch.tensor([[[[1.0, 0.51, -0.26]]], [[[1000.0, 12.0, 7.0]]]])
    expected = torch.tensor([[[[64.0, 33, -17]]], [[[64.0, 1, 0]]]])
    expected *= torch.tensor([1 / 64, 1000 / 64]).view(2, 1, 1, 1)
    torch.testing.assert_close(round_weights(weight), expected)
    assert torch.equal(round_weights(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_gradients_ignore_the_rounding() -> None:
    values = torch.tensor([0.0, 0.3, -1.55, 1.0, 0.004], requires_grad=True)
    rounded = round_activations(values)  # 255 steps of 0.01
    torch.testing.assert_close(rounded, torch.tensor([0.0, 0.3, -1.55, 1.0, 0.0]))
    rounded.sum().backward()
    assert torch.equal(values.grad, torch.ones(5))


def test_zero_is_a_step_for_activations_of_one_sign() -> None:
    rounded = round_activations(torch.tensor([5.0, 2.55]))  # 255 steps of 5 / 255
    torch.testing.assert_close(rounded, torch.tensor([5.0, 130 * 5 / 255]))


def test_simulated_int8_shifts_ages_and_leaves_the_model_unchanged() -> None:
    model = load_checkpoint(bundled("halnet.safetensors")).model
    images = torch.from_numpy(sample_crops()[::12])
    with torch.inference_mode():
        exact = model(images)[0]
        before = model.logits(images)
        moved = model.summarise(int8_logits(model, images))[0]
        assert torch.equal(model.logits(images), before), "the model is unchanged"
    assert 0.05 < (moved - exact).abs().mean() < 8


def test_the_input_of_the_first_layer_stays_in_floating_point() -> None:
    model = load_checkpoint(bundled("halnet.safetensors")).model
    seen: dict[str, torch.Tensor] = {}
    convolutions = [m for m in model.network.modules() if isinstance(m, nn.Conv2d)]
    layers = {"first": convolutions[0], "second": convolutions[1]}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(
            lambda module, inputs, name=name: seen.__setitem__(name, inputs[0])
        )
    images = torch.from_numpy(sample_crops()[:2])
    with torch.inference_mode():
        int8_logits(model, images)
        assert torch.equal(seen["first"], model.normalise(images))
        exact = layers["first"](seen["first"])
    assert exact.shape == seen["second"].shape
    # This hook ran before the hook that rounds.
    assert len(torch.unique(round_activations(seen["second"]))) <= 255


def test_the_first_layers_may_stay_in_floating_point() -> None:
    """With all layers in floating point, the logits are exact."""
    model = load_checkpoint(bundled("halnet.safetensors")).model
    images = torch.from_numpy(sample_crops()[::12])
    with torch.inference_mode():
        exact = model.logits(images)
        moved = [(int8_logits(model, images, first) - exact).abs().mean() for first in (0, 3, 100)]
    assert min(moved[:2]) > 0 == moved[2]
    assert moved[0] != moved[1]


def test_the_simulation_shifts_ages_as_an_artifact_does() -> None:
    """Not by the same numbers, since ranges are those of the batch, but in the same direction."""
    model = load_checkpoint(bundled("halnet.safetensors")).model
    crops = sample_crops()
    equalize_network(model, crops)
    images = torch.from_numpy(crops).float()
    with torch.inference_mode():
        exact = model.summarise(model.logits(images))[0].numpy()
        simulated = model.summarise(int8_logits(model, images))[0].numpy() - exact
    quantizer = Quantizer(trace(simplify(model)), crops)
    artifact = open_age_function(quantizer.quantize("unsigned"))(crops) - exact
    assert np.corrcoef(simulated, artifact)[0, 1] > 0.3
    assert 0.5 < np.abs(simulated).mean() / np.abs(artifact).mean() < 2


def test_training_reduces_the_loss_in_int8() -> None:
    model = load_checkpoint(bundled("halnet.safetensors")).model
    model.eval().requires_grad_(True)
    images = torch.from_numpy(sample_crops()[::9].copy())
    config = TrainConfig()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    losses = []
    for _ in range(6):
        loss = int8_loss(model, images, model.logits(images), config).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert min(losses) < 0.5 * losses[0]


def test_training_for_int8_needs_trained_weights(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quantize: expected weights of a trained checkpoint"):
        train([prepared], tmp_path / "run", TrainConfig(quantize="int8"))
