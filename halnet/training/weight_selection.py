"""Weight selection: a small network starts from channels of a larger relative.

[Xu et al., Initializing Models with Larger Ones, ICLR 2024], from EfficientNet-Lite to MobileNetV3.
Both descend from MnasNet: their stages have residual widths of 16, 24, 40, 80 and 112 channels, and
their blocks expand, convolve each channel, and project. Of each source block the expanded channels
with the largest product of norms are taken, with their BN. Where the target has more blocks in a
stage than the source, the last source block is copied again, its contribution scaled down, since
it is a residual that the source did not have.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv3 import InvertedResidual

from halnet.errors import ConfigError
from halnet.network.backbones import TimmNetwork

EXTRA_SCALE = 0.3  # of the projection of a block that is copied a second time


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution with the BN after it."""

    conv: nn.Conv2d
    norm: Any  # BatchNorm2d or timm's variant

    def strength(self) -> Tensor:
        """Return the norm of each output channel's filter, scaled by its BN."""
        scale = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        strength: Tensor = self.conv.weight.flatten(1).norm(dim=1) * scale.abs()
        return strength


@dataclass(frozen=True, eq=False)
class Block:
    """A mobile inverted bottleneck; the first of a network does not expand."""

    expand: Layer | None
    depthwise: Layer
    project: Layer


@torch.no_grad()
def select_weights(source: nn.Module, target: nn.Module) -> None:
    """Start `target`, torchvision's MobileNetV3, from channels of `source`, an EfficientNet-Lite.

    Gates and head stay as they are. Raises ConfigError for networks of other families.
    """
    if not isinstance(source, TimmNetwork) or not hasattr(source.body, "conv_stem"):
        raise ConfigError(
            "weights select: expected a checkpoint of timm:tf_efficientnet_lite0 or a larger one "
            "of its family to select channels from"
        )
    if not isinstance(getattr(target, "features", None), nn.Sequential):
        raise ConfigError("weights select: expected to train ca_mobilenet_v3 or mobilenet_v3_large")
    body: Any = source.body
    stem, stages, last = _target_parts(target)
    kept = _strongest(Layer(body.conv_stem, body.bn1).strength(), stem.conv.out_channels)
    _copy_layer(Layer(body.conv_stem, body.bn1), stem, kept, None)
    for source_stage, target_stage in zip(body.blocks[:6], stages, strict=True):
        blocks = [_source_block(block) for block in source_stage]
        width = target_stage[0].project.conv.out_channels
        out = _strongest(sum(b.project.strength() for b in blocks), width)  # type: ignore[arg-type]
        for index, to in enumerate(target_stage):
            block = blocks[min(index, len(blocks) - 1)]
            _copy_block(block, to, kept, out)
            if index >= len(blocks):
                to.project.norm.weight.mul_(EXTRA_SCALE)
                to.project.norm.bias.mul_(EXTRA_SCALE)
            kept = out
    final = _source_block(body.blocks[6][0]).expand
    assert final is not None
    _copy_layer(final, last, _strongest(final.strength(), last.conv.out_channels), kept)


def _copy_block(source: Block, target: Block, inputs: Tensor, outputs: Tensor) -> None:
    """Copy the strongest expanded channels; `inputs`, `outputs` are the residual ones to take."""
    strength = source.depthwise.strength() * source.project.conv.weight.flatten(1).norm(dim=0)
    if source.expand is not None and target.expand is not None:
        strength = strength * source.expand.strength()
        inner = _strongest(strength, target.depthwise.conv.out_channels)
        _copy_layer(source.expand, target.expand, inner, inputs)
    else:  # the depthwise convolution works on the residual channels themselves
        inner = inputs
    _copy_layer(source.depthwise, target.depthwise, inner, None)
    _copy_layer(source.project, target.project, outputs, inner)


def _copy_layer(source: Layer, target: Layer, outputs: Tensor, inputs: Tensor | None) -> None:
    """Copy filters `outputs`, of them the slices `inputs`; kernels are cropped or padded."""
    weight = source.conv.weight[outputs]
    if inputs is not None:
        weight = weight[:, inputs]
    target.conv.weight.copy_(_fit_kernel(weight, target.conv.kernel_size[0]))
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(target.norm, name).copy_(getattr(source.norm, name)[outputs])


def _fit_kernel(weight: Tensor, size: int) -> Tensor:
    """Crop or pad with zeros, about the centre, to `size` x `size`."""
    edge = (size - weight.shape[-1]) // 2  # negative: crop
    return nn.functional.pad(weight, (edge,) * 4)


def _strongest(strength: Tensor, count: int) -> Tensor:
    """Return the indices, in order, of the `count` largest values."""
    if len(strength) < count:
        raise ConfigError(
            f"weights select: expected at least {count} channels in the source, found "
            f"{len(strength)}"
        )
    return strength.topk(count).indices.sort().values


def _source_block(block: Any) -> Block:
    if hasattr(block, "conv_pwl"):  # timm's InvertedResidual
        return Block(
            Layer(block.conv_pw, block.bn1),
            Layer(block.conv_dw, block.bn2),
            Layer(block.conv_pwl, block.bn3),
        )
    return Block(None, Layer(block.conv_dw, block.bn1), Layer(block.conv_pw, block.bn2))


def _target_parts(network: Any) -> tuple[Layer, list[list[Block]], Layer]:
    """Return stem, blocks by stage and last layer of torchvision's MobileNetV3."""
    stages: list[list[Block]] = []
    for module in network.features[1:-1]:
        assert isinstance(module, InvertedResidual)
        parts: list[Any] = [m for m in module.block if isinstance(m, nn.Sequential)]
        layers = [Layer(part[0], part[1]) for part in parts]
        block = Block(*layers) if len(layers) == 3 else Block(None, *layers)
        before = stages[-1][-1].project.conv.out_channels if stages else 0
        if block.project.conv.out_channels != before:
            stages.append([])
        stages[-1].append(block)
    ends = [Layer(network.features[i][0], network.features[i][1]) for i in (0, -1)]
    return ends[0], stages, ends[1]
