"""The complete network, which computes age, standard deviation and probabilities of uint8 crops."""

import torch
from torch import Tensor, nn

from halnet.ages import AGE_MAX, AGE_MIN
from halnet.network.backbones import build_backbone
from halnet.network.config import NetworkConfig
from halnet.network.heads import find_head


class AgeNet(nn.Module):
    """A backbone with its head, from uint8 crops to age, standard deviation and probabilities.

    Normalisation, softmax and expectation are part of the network, so that the exported graph needs
    no code around it.
    """

    mean: Tensor
    std: Tensor
    ages: Tensor

    def __init__(self, config: NetworkConfig = NetworkConfig()) -> None:
        """Build the network of `config` with random weights.

        The weights are float32, whatever the default dtype of PyTorch.

        Raises ConfigError for an unknown backbone or head, and RuntimeUnavailableError if the
        backbone needs timm and it is not installed.
        """
        super().__init__()
        self.head = find_head(config.head)
        backbone = build_backbone(config.backbone, self.head.outputs, config.dropout)
        self.network = backbone.network
        self.feature_layers = backbone.feature_layers
        # For each channel, on pixels from 0 to 255. These are constants and no weights, so the
        # buffers are not persistent.
        for name, values in (("mean", backbone.mean), ("std", backbone.std)):
            constants = 255 * torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)
            self.register_buffer(name, constants, persistent=False)
        ages = torch.arange(AGE_MIN, AGE_MAX + 1, dtype=torch.float32)
        self.register_buffer("ages", ages, persistent=False)
        self.float()

    def normalise(self, images: Tensor) -> Tensor:
        """Return N x 3 x H x W float32 for N x H x W x 3 RGB images with values from 0 to 255."""
        # The cast comes before the permutation because TensorRT cannot transpose uint8.
        return (images.float().permute(0, 3, 1, 2) - self.mean) / self.std

    def logits(self, images: Tensor) -> Tensor:
        """Return N x K logits for N x H x W x 3 RGB images with values from 0 to 255."""
        logits: Tensor = self.network(self.normalise(images))
        return logits

    def summarise(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return age (N, years), standard deviation (N, years) and N x 101 probabilities, float32.

        `logits` are N x K.
        """
        probabilities = self.head.probabilities(logits)
        age = (probabilities * self.ages).sum(dim=1)
        variance = (probabilities * (self.ages - age[:, None]) ** 2).sum(dim=1)
        return age, variance.sqrt(), probabilities

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return age (N, years), standard deviation (N, years) and N x 101 probabilities, float32.

        `images` are N x H x W x 3 RGB with values from 0 to 255.
        """
        return self.summarise(self.logits(images))
