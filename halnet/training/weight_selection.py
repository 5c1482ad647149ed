"""Weight selection: a small network starts with channels of a larger, similar network.

[Xu et al., Initializing Models with Larger Ones, ICLR 2024], here from EfficientNet-Lite to
MobileNetV3. Both come from MnasNet: their stages have 16, 24, 40, 80 and 112 residual channels, and
their blocks expand the channels, convolve each channel, and project them. From each block of the
source, the expanded channels with the largest product of norms are copied, with their batch norms.
If a stage of the target has more blocks than the source, the last block of the source is copied
again. The source has no such block, so its output is scaled down.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv3 import InvertedResidual

from halnet.errors import ConfigError
from halnet.network.backbones import TimmNetwork

EXTRA_SCALE = 0.3  # factor for the output of a block that is copied a second time


@dataclass(frozen=True, eq=False)
class ConvNorm:
    """A convolution with the batch norm after it."""

    conv: nn.Conv2d
    norm: Any  # BatchNorm2d, or the variant of timm

    def strength(self) -> Tensor:
        """Return the norm of the filter of each output channel, scaled by the batch norm."""
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        strength: Tensor = self.conv.weight.flatten(1).norm(dim=1) * scale.abs()
        return strength


@dataclass(frozen=True, eq=False)
class Block:
    """A mobile inverted bottleneck. The first block of a network has no expansion."""

    expand: ConvNorm | None
    depthwise: ConvNorm
    project: ConvNorm


@torch.no_grad()
def select_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy channels of `source`, an EfficientNet-Lite, into `target`, torchvision's MobileNetV3.

    The attention layers and the head of `target` keep their weights. Raises ConfigError for other
    networks.
    """
    if not isinstance(source, TimmNetwork) or not hasattr(source.body, "conv_stem"):
        raise ConfigError(
            "weights select: expected channels of timm:tf_efficientnet_lite0 or of a larger "
            "EfficientNet-Lite, found another network; name a checkpoint of such a network"
        )
    if not isinstance(getattr(target, "features", None), nn.Sequential):
        raise ConfigError(
            "weights select: expected the backbone ca_mobilenet_v3 or mobilenet_v3_large, found "
            "another one; change --backbone"
        )
    body: Any = source.body
    stem, stages, last = _target_parts(target)
    kept = _strongest(ConvNorm(body.conv_stem, body.bn1).strength(), stem.conv.out_channels)
    _copy_conv_norm(ConvNorm(body.conv_stem, body.bn1), stem, kept, None)
    for source_stage, target_stage in zip(body.blocks[:6], stages, strict=True):
        blocks = [_source_block(block) for block in source_stage]
        width = target_stage[0].project.conv.out_channels
        out = _strongest(sum(b.project.strength() for b in blocks), width)  # type: ignore[arg-type]
        for index, to in enumerate(target_stage):
            block = blocks[min(index, len(blocks) - 1)]
            copy_block(block, to, kept, out)
            if index >= len(blocks):
                to.project.norm.weight.mul_(EXTRA_SCALE)
                to.project.norm.bias.mul_(EXTRA_SCALE)
            kept = out
    final = _source_block(body.blocks[6][0]).expand
    assert final is not None
    _copy_conv_norm(final, last, _strongest(final.strength(), last.conv.out_channels), kept)


def copy_block(source: Block, target: Block, inputs: Tensor, outputs: Tensor) -> None:
    """Copy the strongest expanded channels of a block.

    `inputs` and `outputs` are the indices of the residual channels to copy.
    """
    strength = source.depthwise.strength() * source.project.conv.weight.flatten(1).norm(dim=0)
    if source.expand is not None and target.expand is not None:
        strength = strength * source.expand.strength()
        inner = _strongest(strength, target.depthwise.conv.out_channels)
        _copy_conv_norm(source.expand, target.expand, inner, inputs)
    else:  # without an expansion, the depthwise convolution takes the residual channels
        inner = inputs
    _copy_conv_norm(source.depthwise, target.depthwise, inner, None)
    _copy_conv_norm(source.project, target.project, outputs, inner)


def _copy_conv_norm(
    source: ConvNorm, target: ConvNorm, outputs: Tensor, inputs: Tensor | None
) -> None:
    """Copy the filters `outputs`, and of each filter the channels `inputs` (None: all of them)."""
    weight = source.conv.weight[outputs]
    if inputs is not None:
        weight = weight[:, inputs]
    target.conv.weight.copy_(fit_kernel(weight, target.conv.kernel_size[0]))
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(target.norm, name).copy_(getattr(source.norm, name)[outputs])


def fit_kernel(weight: Tensor, size: int) -> Tensor:
    """Crop kernels to `size` x `size` at their centre, or pad them with zeros on all sides."""
    edge = (size - weight.shape[-1]) // 2  # a negative value crops
    return nn.functional.pad(weight, (edge,) * 4)


def _strongest(strength: Tensor, count: int) -> Tensor:
    """Return the sorted indices of the `count` largest values."""
    if len(strength) < count:
        raise ConfigError(
            f"weights select: expected at least {count} channels in a layer of the source, found "
            f"{len(strength)}; name a checkpoint of a larger network"
        )
    return strength.topk(count).indices.sort().values


def _source_block(block: Any) -> Block:
    if hasattr(block, "conv_pwl"):  # timm's InvertedResidual
        return Block(
            ConvNorm(block.conv_pw, block.bn1),
            ConvNorm(block.conv_dw, block.bn2),
            ConvNorm(block.conv_pwl, block.bn3),
        )
    return Block(None, ConvNorm(block.conv_dw, block.bn1), ConvNorm(block.conv_pw, block.bn2))


def _target_parts(network: Any) -> tuple[ConvNorm, list[list[Block]], ConvNorm]:
    """Return the stem, the blocks of each stage and the last layer of torchvision's MobileNetV3."""
    stages: list[list[Block]] = []
    for module in network.features[1:-1]:
        assert isinstance(module, InvertedResidual)
        parts: list[Any] = [m for m in module.block if isinstance(m, nn.Sequential)]
        layers = [ConvNorm(part[0], part[1]) for part in parts]
        block = Block(*layers) if len(layers) == 3 else Block(None, *layers)
        before = stages[-1][-1].project.conv.out_channels if stages else 0
        if block.project.conv.out_channels != before:
            stages.append([])
        stages[-1].append(block)
    ends = [ConvNorm(network.features[i][0], network.features[i][1]) for i in (0, -1)]
    return ends[0], stages, ends[1]
