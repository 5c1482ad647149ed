"""Backbones behind one name: ours, its ablation with squeeze-excitation, and any of timm's.

A backbone maps N x 3 x H x W normalised images to N x K logits; it ends in dropout and a linear
layer. It states the normalisation that its pretrained weights expect and where its features are.

To add one, give it a line in `BACKBONES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.mobilenetv3 import InvertedResidual
from torchvision.ops import SqueezeExcitation

from halnet.errors import ConfigError
from halnet.network.attention import CoordinateAttention
from halnet.packages import needs

# Mean and deviation of ImageNet's RGB, range 0 to 1: what most pretrained networks expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CAFFE_MEAN = (123.68, 116.779, 103.939)  # of RGB, range 0 to 255

TIMM = "timm:"
CA_BLOCKS = range(11, 16)  # features[11..15]
# torchvision trains for hundreds of epochs with 0.01; on few photos the running statistics would
# lag behind the weights for many epochs.
BN_MOMENTUM = 0.1


@dataclass(frozen=True)
class Taps:
    """Names of the modules whose outputs are the features at strides 8 and 16 and after pooling."""

    stride8: str
    stride16: str
    pooled: str


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network with what must be known to use it."""

    network: nn.Module
    taps: Taps
    mean: tuple[float, ...] = IMAGENET_MEAN  # of RGB, range 0 to 1
    std: tuple[float, ...] = IMAGENET_STD


def build_backbone(name: str, outputs: int, dropout: float) -> Backbone:
    """Return a backbone with fresh weights and `outputs` logits.

    Raises ConfigError for an unknown name, RuntimeUnavailableError where timm is missing.
    """
    if name.startswith(TIMM):
        return _timm_backbone(name.removeprefix(TIMM), outputs, dropout)
    if name not in BACKBONES:
        raise ConfigError(
            f"backbone {name}: expected one of {', '.join(BACKBONES)}, or timm:NAME such as "
            "timm:resnet18"
        )
    return BACKBONES[name](outputs, dropout)


def ca_mobilenet_v3(outputs: int, dropout: float) -> Backbone:
    """Return torchvision's MobileNetV3-Large with Coordinate Attention in its deep blocks.

    Squeeze-excitation (SE) stays in the shallow blocks; in the blocks of stages 4 and 5 (112 and
    160 channels out) Coordinate Attention takes its place.
    """
    backbone = se_mobilenet_v3(outputs, dropout)
    blocks = list(backbone.network.features.children())  # type: ignore[union-attr]
    for index in CA_BLOCKS:
        _replace_attention(blocks[index])
    return backbone


def se_mobilenet_v3(outputs: int, dropout: float) -> Backbone:
    """Return torchvision's MobileNetV3-Large as it is, but for the head's size and initial weights.

    [Howard et al., ICCV 2019]
    """
    network: nn.Module = mobilenet_v3_large(weights=None, num_classes=outputs, dropout=dropout)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BN_MOMENTUM
        if isinstance(module, nn.Linear):
            # torchvision's deviation of 0.01 lets hardly any signal through a fresh head: keep
            # the variance instead [He et al., ICCV 2015].
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    return Backbone(network, Taps("features.6", "features.12", "avgpool"))


def mobilenet_v1(outputs: int, dropout: float) -> Backbone:
    """Return MobileNetV1 [Howard et al., 2017] with TensorFlow's padding and Caffe's normalisation.

    That is what `--weights faceres:PATH` was trained with: pixels less their mean, not divided.
    """
    return _timm_backbone(
        "mobilenetv1_100",
        outputs,
        dropout,
        mean=tuple(value / 255 for value in CAFFE_MEAN),
        std=(1 / 255,) * 3,
        pad_type="same",
    )


BACKBONES: dict[str, Callable[[int, float], Backbone]] = {
    "ca_mobilenet_v3": ca_mobilenet_v3,
    "mobilenet_v3_large": se_mobilenet_v3,
    "mobilenet_v1": mobilenet_v1,
}


class TimmNetwork(nn.Module):
    """A timm network up to its pooled features, then dropout and a linear layer."""

    def __init__(self, body: nn.Module, features: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, outputs))

    def forward(self, images: Tensor) -> Tensor:
        """Return N x K logits for N x 3 x H x W normalised images."""
        logits: Tensor = self.head(self.body(images))
        return logits


def _timm_backbone(
    name: str,
    outputs: int,
    dropout: float,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    **options: Any,
) -> Backbone:
    with needs(f"backbone {TIMM}{name}", "train"):
        import timm
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('_', maxsplit=1)[0]}*")[:5])
        raise ConfigError(
            f"backbone {TIMM}{name}: timm {timm.__version__} has no such network"
            + (f"; near: {near}" if near else "")
        )
    body = timm.create_model(name, num_classes=0, **options)
    with torch.inference_mode():
        features = body.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
    body.train()
    stages: Any = body.feature_info
    places = {int(info["reduction"]): f"body.{info['module']}" for info in stages}
    pretrained: Any = body.pretrained_cfg
    return Backbone(
        TimmNetwork(body, features, outputs, dropout),
        Taps(places.get(8, ""), places.get(16, ""), "body"),
        mean or tuple(pretrained["mean"]),
        std or tuple(pretrained["std"]),
    )


def _replace_attention(block: nn.Module) -> None:
    """Put CA where SE stands. Found by type: the blocks are unnamed Sequential modules."""
    if not isinstance(block, InvertedResidual):
        raise TypeError(f"expected torchvision's InvertedResidual, found {type(block).__name__}")
    layers = block.block
    (position,) = (i for i, layer in enumerate(layers) if isinstance(layer, SqueezeExcitation))
    attention = layers[position]
    assert isinstance(attention, SqueezeExcitation)
    layers[position] = CoordinateAttention(attention.fc1.in_channels)
