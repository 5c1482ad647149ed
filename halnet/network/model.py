"""The deployable network: uint8 crops to age, deviation and probabilities."""

import torch
from torch import Tensor, nn

from halnet.ages import AGE_MAX, AGE_MIN
from halnet.network.backbones import build_backbone
from halnet.network.config import NetworkConfig
from halnet.network.heads import find_head


class AgeNet(nn.Module):
    """A backbone with its head, from uint8 crops to age, stddev and probabilities.

    The normalisation, the softmax and the expectation are part of it, so that an exported graph
    needs nothing around it.
    """

    mean: Tensor
    std: Tensor
    ages: Tensor

    def __init__(self, config: NetworkConfig = NetworkConfig()) -> None:
        """Build the network that `config` states, with fresh weights.

        Raises ConfigError for an unknown backbone or head, RuntimeUnavailableError where timm is
        needed and missing.
        """
        super().__init__()
        self.head = find_head(config.head)
        backbone = build_backbone(config.backbone, self.head.outputs, config.dropout)
        self.network = backbone.network
        self.taps = backbone.taps
        # Per channel on pixels 0 to 255. Not persistent: they are constants, not weights.
        for name, values in (("mean", backbone.mean), ("std", backbone.std)):
            self.register_buffer(name, 255 * torch.tensor(values).view(1, 3, 1, 1), False)
        ages = torch.arange(AGE_MIN, AGE_MAX + 1, dtype=torch.float32)
        self.register_buffer("ages", ages, persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """Return N x 3 x H x W float32 for N x H x W x 3 RGB images, 0 to 255."""
        # Cast before permute: TensorRT refuses a Transpose of uint8.
        return (images.float().permute(0, 3, 1, 2) - self.mean) / self.std

    def logits(self, images: Tensor) -> Tensor:
        """Return N x K logits for N x H x W x 3 RGB images, 0 to 255."""
        logits: Tensor = self.network(self.normalise(images))
        return logits

    def summarise(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return age (N, years), stddev (N, years) and probabilities (N x 101), float32."""
        probabilities = self.head.probabilities(logits)
        age = (probabilities * self.ages).sum(dim=1)
        variance = (probabilities * (self.ages - age[:, None]) ** 2).sum(dim=1)
        return age, variance.sqrt(), probabilities

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `summarise` does for N x H x W x 3 RGB images, 0 to 255."""
        return self.summarise(self.logits(images))
