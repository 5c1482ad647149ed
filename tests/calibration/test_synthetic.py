from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from halnet.artifact import Metadata, bundled
from halnet.calibration.synthetic import make_synthetic_crops
from halnet.network.checkpoint import load_checkpoint


class Remembers(nn.Module):
    """A convolution whose batch norm has seen dark pictures of even colour."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, stride=8, bias=False)
        self.norm = nn.BatchNorm2d(8, momentum=None)
        rng = torch.Generator().manual_seed(0)
        self.conv.weight.data.normal_(0, 0.1, generator=rng)
        seen = torch.rand(8, 3, 28, 28, generator=rng) * 0.4
        self.train()
        self.logits(255 * nn.functional.interpolate(seen, scale_factor=8).permute(0, 2, 3, 1))

    def logits(self, images: Tensor) -> Tensor:
        """Return what the batch norm gives for N x H x W x 3 RGB images, 0 to 255."""
        found: Tensor = self.norm(self.conv(images.permute(0, 3, 1, 2) / 255))
        return found


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Metadata:
    """The metadata of a checkpoint whose network is the small one."""
    metadata = load_checkpoint(bundled("halnet.safetensors")).metadata
    torch.manual_seed(0)
    network = Remembers()
    monkeypatch.setattr(
        "halnet.network.checkpoint.load_checkpoint", lambda path: (network, metadata)
    )
    return metadata


def test_crops_bring_about_what_the_batch_norms_remember(metadata: Metadata) -> None:
    path = Path("any")
    samples = make_synthetic_crops(path, 20, steps=60)
    assert samples.crops.shape == (20, 224, 224, 3)
    assert samples.crops.dtype == np.uint8
    network = Remembers()
    norm = network.norm
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.inference_mode():
        found = network.conv(torch.from_numpy(samples.crops).permute(0, 3, 1, 2) / 255)
    deviation = norm.running_var.sqrt()
    assert ((found.mean((0, 2, 3)) - norm.running_mean).abs() < 0.3 * deviation).all()
    assert ((found.std((0, 2, 3)) - deviation).abs() < 0.3 * deviation).all()
    assert samples.origin["data"] == f"made from {metadata.checkpoint_sha256[:12]}"


def test_the_seed_decides(metadata: Metadata) -> None:
    path = Path("any")
    first, again, other = (make_synthetic_crops(path, 2, seed, steps=2) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.crops, again.crops)
    assert (first.crops != other.crops).any()
