"""CA-MobileNetV3: torchvision's MobileNetV3-Large with Coordinate Attention in its deep blocks.

Squeeze-excitation (SE) stays in the shallow blocks; in the blocks of stages 4 and 5 (112 and 160
channels out) Coordinate Attention takes its place.
"""

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.mobilenetv3 import InvertedResidual
from torchvision.ops import SqueezeExcitation

from halnet.ages import AGE_MAX, AGE_MIN, N_AGES

# Mean and deviation of ImageNet's RGB, range 0 to 1: what pretrained backbones expect.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

CA_BLOCKS = range(11, 16)  # features[11..15]
CA_REDUCTION = 32
CA_MIN_CHANNELS = 8
# torchvision trains for hundreds of epochs with 0.01; from scratch on few photos the running
# statistics would lag behind the weights for many epochs.
BN_MOMENTUM = 0.1


class CoordinateAttention(nn.Module):
    """Coordinate Attention [Hou, Zhou, Feng, CVPR 2021] on N x C x H x W features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(CA_MIN_CHANNELS, channels // CA_REDUCTION)
        self.squeeze = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = nn.Hardswish()
        self.gate_h = nn.Conv2d(hidden, channels, 1)
        self.gate_w = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return x * a_h * a_w, the two gates from the means over the other axis."""
        height, width = x.shape[2:]
        rows = x.mean(dim=3, keepdim=True)  # N x C x H x 1
        columns = x.mean(dim=2, keepdim=True).transpose(2, 3)  # N x C x W x 1
        hidden = self.act(self.norm(self.squeeze(torch.cat([rows, columns], dim=2))))
        rows, columns = torch.split(hidden, [height, width], dim=2)
        a_h = self.gate_h(rows).sigmoid()
        a_w = self.gate_w(columns.transpose(2, 3)).sigmoid()
        weighted: Tensor = x * a_h * a_w
        return weighted


class AgeNet(nn.Module):
    """The deployable network: uint8 crops to age, stddev and probabilities.

    The normalisation, the softmax and the expectation are part of it, so that an exported graph
    needs nothing around it.
    """

    mean: Tensor
    std: Tensor
    ages: Tensor

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.network = ca_mobilenet_v3(dropout)
        # Per channel on pixels 0 to 255. Not persistent: they are constants, not weights.
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        ages = torch.arange(AGE_MIN, AGE_MAX + 1, dtype=torch.float32)
        self.register_buffer("ages", ages, persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """Return N x 3 x H x W float32 from N x H x W x 3 uint8 (or 0..255 float) RGB."""
        # Cast before permute: TensorRT refuses a Transpose of uint8.
        return (images.float().permute(0, 3, 1, 2) - self.mean) / self.std

    def logits(self, images: Tensor) -> Tensor:
        """Return N x 101 logits for N x H x W x 3 RGB images, 0 to 255."""
        logits: Tensor = self.network(self.normalise(images))
        return logits

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return age (N, years), stddev (N, years) and probabilities (N x 101), float32."""
        probabilities = self.logits(images).float().softmax(dim=1)
        age = (probabilities * self.ages).sum(dim=1)
        variance = (probabilities * (self.ages - age[:, None]) ** 2).sum(dim=1)
        return age, variance.sqrt(), probabilities


def ca_mobilenet_v3(dropout: float = 0.2) -> nn.Module:
    """Return CA-MobileNetV3 with fresh weights: N x 3 x H x W to N x 101 logits."""
    network: nn.Module = mobilenet_v3_large(weights=None, num_classes=N_AGES, dropout=dropout)
    blocks = list(network.features.children())  # type: ignore[union-attr]
    for index in CA_BLOCKS:
        _replace_attention(blocks[index])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BN_MOMENTUM
        if isinstance(module, nn.Linear):
            # torchvision's deviation of 0.01 lets hardly any signal through a fresh head: keep
            # the variance instead [He et al., ICCV 2015].
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    return network


def _replace_attention(block: nn.Module) -> None:
    """Put CA where SE stands. Found by type: the blocks are unnamed Sequential modules."""
    if not isinstance(block, InvertedResidual):
        raise TypeError(f"expected torchvision's InvertedResidual, found {type(block).__name__}")
    layers = block.block
    (position,) = (i for i, layer in enumerate(layers) if isinstance(layer, SqueezeExcitation))
    attention = layers[position]
    assert isinstance(attention, SqueezeExcitation)
    layers[position] = CoordinateAttention(attention.fc1.in_channels)
