"""Quantization-aware training: the network learns to predict the same ages in simulated INT8.

Weights and activations are rounded as in an INT8 artifact, and gradients ignore the rounding [Jacob
et al., CVPR 2018, section 3]. The loss compares the distribution in INT8 with that in floating
point, so that one checkpoint is good for all precisions.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from halnet.network.int8_levels import LEVELS, WEIGHT_LEVELS
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
    return soft_loss(model.head.log_probabilities(int8_logits(model, images)), target, config)


def int8_logits(model: AgeNet, images: Tensor) -> Tensor:
    """Return N x K logits, approximately those of an INT8 artifact.

    `images` are N x H x W x 3 RGB with values from 0 to 255. The weights of all layers except the
    last become integers, and so do the inputs of all layers except the first. The input of
    Hardswish becomes integers too, because it is the rounded output of a convolution. It is cut at
    -3, below which Hardswish returns 0. Activations are scaled by their largest absolute value in
    the batch.
    """
    network = model.network
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    first, *_, last = layers
    weights = {
        f"{name}.weight": round_weights(layer.weight)
        for name, layer in layers.items()
        if name != last
    }
    rounded: list[nn.Module] = [
        layer for name, layer in layers.items() if name not in (first, last)
    ]
    rounded += [module for module in network.modules() if isinstance(module, nn.Hardswish)]
    handles = [module.register_forward_pre_hook(_round_input) for module in rounded]
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
    """Return activations that are rounded to 8-bit integers times one scale.

    The integers are symmetric about zero, as in TensorRT. The scheme for CPUs is finer.
    """
    low, high = values.detach().aminmax()
    scale = (torch.maximum(-low, high) / LEVELS).clamp_min(SMALLEST_SCALE)
    rounded: Tensor = _Round.apply(values, scale)  # type: ignore[no-untyped-call]
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
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


def _round_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    values, *rest = inputs
    if isinstance(module, nn.Hardswish):
        values = values.clamp_min(-3)
    return (round_activations(values), *rest)
