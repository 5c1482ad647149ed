"""Quantization-aware training: the network learns to predict the same ages in simulated INT8.

Weights and activations are rounded as in an INT8 artifact for CPUs, and gradients ignore the
rounding [Jacob et al., CVPR 2018, section 3]. The loss compares the distribution in INT8 with that
in floating point, so that one checkpoint is good for all precisions.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from halnet.network.int8_levels import ACTIVATION_STEPS, WEIGHT_LEVELS
from halnet.network.model import AgeNet
from halnet.training.config import TrainConfig
from halnet.training.losses import soft_loss

SMALLEST_SCALE = 1e-8  # avoids a division by zero for a tensor of zeros


def int8_loss(model: AgeNet, images: Tensor, logits: Tensor, config: TrainConfig) -> Tensor:
    """Return N distances between the distributions in INT8 and in floating point.

    `images` are N x H x W x 3 RGB with values from 0 to 255, and `logits` are the N x K logits of
    `model` for them.
    """
    target = model.head.probabilities(logits.detach())
    logits = int8_logits(model, images, config.quantize_from)
    return soft_loss(model.head.log_probabilities(logits), target, config)


def int8_logits(model: AgeNet, images: Tensor, first: int = 0) -> Tensor:
    """Return N x K logits, approximately those of an INT8 artifact.

    `images` are N x H x W x 3 RGB with values from 0 to 255. The first layers, so many as `first`,
    and the last one compute in floating point. The weights of all other layers become integers, and
    so do their inputs, except that of the first layer of all. The input of Hardswish and the output
    of a batch norm without an activation become integers too, because they are the rounded outputs
    of convolutions. The input of Hardswish is cut at -3, below which Hardswish returns 0.
    Activations are scaled by their range in the batch.
    """
    network = model.network
    weights: dict[str, Tensor] = {}
    handles = []
    layers = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    ends = _ends_of_sequences(network)
    place = -1  # of the last layer that was passed
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            place += 1
            if first <= place < len(layers) - 1:
                weights[f"{name}.weight"] = round_weights(module.weight)
                if place:
                    handles.append(module.register_forward_pre_hook(_round_input))
        elif not first <= place < len(layers) - 1:
            continue
        elif isinstance(module, nn.Hardswish):
            handles.append(module.register_forward_pre_hook(_round_input))
        elif isinstance(module, nn.BatchNorm2d) and id(module) in ends:
            handles.append(module.register_forward_hook(_round_output))
    try:
        logits: Tensor = functional_call(network, weights, (model.normalise(images),))
    finally:
        for handle in handles:
            handle.remove()
    return logits


def round_weights(weight: Tensor) -> Tensor:
    """Return weights that are rounded to 7-bit integers times a scale for each output channel."""
    peaks = weight.detach().abs().flatten(1).amax(dim=1)
    scales = (peaks / WEIGHT_LEVELS).clamp_min(SMALLEST_SCALE)
    points = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(
        weight, scales, points, 0, -WEIGHT_LEVELS, WEIGHT_LEVELS
    )


def round_activations(values: Tensor) -> Tensor:
    """Return activations that are rounded to multiples of one scale, which include 0.

    There are 255 steps from the smallest value to the largest one, as on CPUs.
    """
    low, high = values.detach().aminmax()
    scale = (high.clamp_min(0) - low.clamp_max(0)) / ACTIVATION_STEPS
    rounded: Tensor = _Round.apply(values, scale.clamp_min(SMALLEST_SCALE))
    return rounded


class _Round(torch.autograd.Function):
    """Rounds to multiples of a scale, and passes gradients on as they are.

    No value lies outside of the range, so that none is clipped. This takes a third of the time of
    `torch.fake_quantize_per_tensor_affine`, which also stores which values it clips.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor) -> Tensor:
        return (values / scale.to(values.dtype)).round_().mul_(scale.to(values.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def _ends_of_sequences(network: nn.Module) -> set[int]:
    """Return the ids of modules that are the last ones of a sequence."""
    sequences = [m for m in network.modules() if isinstance(m, nn.Sequential) and len(m)]
    return {id(sequence[-1]) for sequence in sequences}


def _round_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    values, *rest = inputs
    if isinstance(module, nn.Hardswish):
        values = values.clamp_min(-3)
    return (round_activations(values), *rest)


def _round_output(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return round_activations(output)
