from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from halnet.artifact import Metadata, bundled
from halnet.calibration.synthetic import make_synthetic_crops
from halnet.network.checkpoint import Checkpoint, load_checkpoint


class SmallNetwork(nn.Module):
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
        """Return the output of the batch norm for N x H x W x 3 RGB images, 0 to 255."""
        found: Tensor = self.norm(self.conv(images.permute(0, 3, 1, 2) / 255))
        return found


@pytest.fixture(scope="module")
def metadata() -> Metadata:
    return load_checkpoint(bundled("halnet.safetensors")).metadata


@pytest.fixture
def small_checkpoint(metadata: Metadata) -> Checkpoint:
    return Checkpoint(Path("small.safetensors"), cast(Any, SmallNetwork()), metadata, "{}")


def test_crops_have_the_statistics_that_the_batch_norms_store(small_checkpoint: Checkpoint) -> None:
    synthetic = make_synthetic_crops(small_checkpoint, 20, steps=60)
    assert synthetic.crops.shape == (20, 224, 224, 3)
    assert synthetic.crops.dtype == np.uint8
    network = cast(Any, small_checkpoint.model)
    norm = network.norm
    with torch.inference_mode():
        found = network.conv(torch.from_numpy(synthetic.crops).permute(0, 3, 1, 2) / 255)
    deviation = norm.running_var.sqrt()
    assert ((found.mean((0, 2, 3)) - norm.running_mean).abs() < 0.3 * deviation).all()
    assert ((found.std((0, 2, 3)) - deviation).abs() < 0.3 * deviation).all()
    digest = small_checkpoint.metadata.checkpoint_sha256
    assert synthetic.origin == {"data": f"made from {digest[:12]}", "seed": 0, "steps": 60}


def test_the_seed_decides_which_crops_are_made(small_checkpoint: Checkpoint) -> None:
    first, again, other = (
        make_synthetic_crops(small_checkpoint, 2, seed, steps=2) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.crops, again.crops)
    assert (first.crops != other.crops).any()


def test_the_checkpoint_is_not_changed(small_checkpoint: Checkpoint) -> None:
    make_synthetic_crops(small_checkpoint, 2, steps=1)
    assert small_checkpoint.model.training
    assert all(weight.requires_grad for weight in small_checkpoint.model.parameters())
