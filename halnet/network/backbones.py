"""Backbones by name: CA-MobileNetV3, its relatives in this file, and all networks of timm.

A backbone turns N x 3 x H x W normalised images into N x K logits. It ends in dropout and a linear
layer. It states the normalisation that its pretrained weights expect, and which layers compute the
features that distillation compares.

To add a backbone, write a function and add it to `BACKBONES`.
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

# Mean and standard deviation of RGB in ImageNet, range 0 to 1. Most pretrained networks expect
# images that are normalised with them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CAFFE_MEAN = (123.68, 116.779, 103.939)  # mean of RGB, range 0 to 255

TIMM = "timm:"
CA_BLOCKS = range(11, 16)  # features[11] to features[15]
# torchvision uses 0.01 and trains for hundreds of epochs. On few photos, running statistics with
# that value would be behind the weights for many epochs.
BN_MOMENTUM = 0.1


@dataclass(frozen=True)
class FeatureLayers:
    """Names of the layers that compute the features at strides 8 and 16, and the pooled features.

    A name is empty if the network has no such layer.
    """

    stride8: str
    stride16: str
    pooled: str


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network with its feature layers and the normalisation of its input."""

    network: nn.Module
    feature_layers: FeatureLayers
    mean: tuple[float, ...] = IMAGENET_MEAN  # mean of RGB, range 0 to 1
    std: tuple[float, ...] = IMAGENET_STD  # standard deviation of RGB, range 0 to 1


def build_backbone(name: str, outputs: int, dropout: float) -> Backbone:
    """Return the backbone with random weights and with `outputs` logits.

    Raises ConfigError for an unknown name, and RuntimeUnavailableError if the backbone needs timm
    and it is not installed.
    """
    if name.startswith(TIMM):
        return _timm_backbone(name.removeprefix(TIMM), outputs, dropout)
    if name not in BACKBONES:
        raise ConfigError(
            f"backbone: expected one of {', '.join(BACKBONES)}, or timm:NAME such as "
            f"timm:resnet18, found {name}"
        )
    return BACKBONES[name](outputs, dropout)


def ca_mobilenet_v3(outputs: int, dropout: float) -> Backbone:
    """Return torchvision's MobileNetV3-Large with Coordinate Attention in its deep blocks.

    In the blocks of stages 4 and 5, which have 112 and 160 output channels, Coordinate Attention
    replaces squeeze-excitation (SE). The blocks before them keep SE.
    """
    backbone = se_mobilenet_v3(outputs, dropout)
    blocks = list(backbone.network.features.children())  # type: ignore[union-attr]
    for index in CA_BLOCKS:
        _replace_attention(blocks[index])
    return backbone


def se_mobilenet_v3(outputs: int, dropout: float) -> Backbone:
    """Return torchvision's MobileNetV3-Large [Howard et al., ICCV 2019].

    It differs in the size and the initial weights of the head, and in the momentum of batch norms.
    """
    network: nn.Module = mobilenet_v3_large(weights=None, num_classes=outputs, dropout=dropout)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BN_MOMENTUM
        if isinstance(module, nn.Linear):
            # torchvision's initial weights, with a standard deviation of 0.01, nearly remove the
            # signal. These weights keep its variance [He et al., ICCV 2015].
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    return Backbone(network, FeatureLayers("features.6", "features.12", "avgpool"))


def mobilenet_v1(outputs: int, dropout: float) -> Backbone:
    """Return MobileNetV1 [Howard et al., 2017] with TensorFlow's padding and Caffe's normalisation.

    The weights of `--weights faceres:PATH` were trained with both. Caffe's normalisation subtracts
    the mean from pixels between 0 and 255, and does not divide by a standard deviation.
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
    """A network of timm that computes pooled features, then dropout and a linear layer."""

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
        similar = ", ".join(timm.list_models(f"*{name.split('_', maxsplit=1)[0]}*")[:5])
        raise ConfigError(
            f"backbone: expected a network of timm {timm.__version__}, found {TIMM}{name}"
            + (f"; similar names are {similar}" if similar else "")
        )
    try:
        body = timm.create_model(name, num_classes=0, **options)
        with torch.inference_mode():
            features = body.eval()(torch.zeros(1, 3, 64, 64)).shape[1]
    except Exception as error:  # its class depends on the network
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"backbone: expected a network that takes images of any size, found {TIMM}{name} "
            f"({reason}); use a convolutional network, such as timm:resnet18"
        ) from error
    body.train()
    stages: Any = body.feature_info
    by_stride = {int(info["reduction"]): f"body.{info['module']}" for info in stages}
    pretrained: Any = body.pretrained_cfg
    return Backbone(
        TimmNetwork(body, features, outputs, dropout),
        FeatureLayers(by_stride.get(8, ""), by_stride.get(16, ""), "body"),
        mean or tuple(pretrained["mean"]),
        std or tuple(pretrained["std"]),
    )


def _replace_attention(block: nn.Module) -> None:
    """Replace squeeze-excitation in a block by Coordinate Attention."""
    if not isinstance(block, InvertedResidual):
        raise TypeError(f"expected torchvision's InvertedResidual, found {type(block).__name__}")
    layers = block.block  # they have no names, so the type tells which one is SE
    (position,) = (i for i, layer in enumerate(layers) if isinstance(layer, SqueezeExcitation))
    attention = layers[position]
    assert isinstance(attention, SqueezeExcitation)
    layers[position] = CoordinateAttention(attention.fc1.in_channels)
