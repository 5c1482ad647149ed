"""Quantization-aware training: the network learns to say the same with INT8 simulated.

Weights and activations are rounded as an artifact would, with gradients that pass straight through
[Jacob et al., CVPR 2018, section 3]. The loss compares the simulated distribution with the
network's own in floating point, so that one checkpoint serves every precision.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from halnet.network.model import AgeNet
from halnet.training.config import TrainConfig
from halnet.training.losses import soft_loss

WEIGHT_LEVELS = 63  # either side of zero: 7 bits, what a CPU without VNNI sums without saturating
LEVELS = 127  # of activations, either side of zero: TensorRT's, the coarser of the two schemes
SMALLEST = 1e-8  # step: keeps a tensor of zeros finite


def int8_loss(model: AgeNet, images: Tensor, logits: Tensor, config: TrainConfig) -> Tensor:
    """Return N distances of the INT8 distributions to the floating-point ones.

    `images` are N x H x W x 3 RGB, 0 to 255; `logits` what `model` gave for them.
    """
    target = model.head.probabilities(logits.detach())
    return soft_loss(model.head.log_probabilities(int8_logits(model, images)), target, config)


def int8_logits(model: AgeNet, images: Tensor) -> Tensor:
    """Return N x K logits as an INT8 artifact gives them, nearly, for N x H x W x 3 RGB images.

    In integers are the weights of all layers but the last, and what goes into all but the first;
    Hardswish takes integers too, since the convolution before it has been rounded, from -3 on: it
    gives 0 below. Activations are scaled by their largest absolute value in the batch.
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
    """Return weights on the grid of 7-bit integers, scaled by each output channel's peak."""
    peaks = weight.detach().abs().flatten(1).amax(dim=1)
    scales = (peaks / WEIGHT_LEVELS).clamp_min(SMALLEST)
    points = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(
        weight, scales, points, 0, -WEIGHT_LEVELS, WEIGHT_LEVELS
    )


def round_activations(values: Tensor) -> Tensor:
    """Return activations on the grid of symmetric 8-bit integers, scaled by their peak."""
    scale = (values.detach().abs().amax() / LEVELS).clamp_min(SMALLEST)
    point = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, point, -LEVELS, LEVELS)


def _round_input(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    values, *rest = inputs
    if isinstance(module, nn.Hardswish):
        values = values.clamp_min(-3)
    return (round_activations(values), *rest)
