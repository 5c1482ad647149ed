"""Synthetic crops: made from a checkpoint alone, for users who have no photos.

A batch norm stores the mean and the deviation that each channel had in training. Crops are
optimised until they produce the same means and deviations, as ZeroQ does [Cai et al., CVPR 2020,
section 3.1]. They do not look like faces, but the ranges in the network are those of faces.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from halnet.calibration.crops import CalibrationCrops
from halnet.faces.alignment import CROP_SIZE
from halnet.network.checkpoint import Checkpoint
from halnet.network.model import AgeNet
from halnet.runtimes.base import Crops

COUNT = 32
BATCH = 16  # crops that are optimised together
STEPS = 120
LEARNING_RATE = 0.1  # of Adam, on the logits of the pixels


def make_synthetic_crops(
    checkpoint: Checkpoint, count: int = COUNT, seed: int = 0, steps: int = STEPS
) -> CalibrationCrops:
    """Return `count` crops made from a checkpoint's batch norms in `steps` steps of Adam.

    The same seed gives the same crops on the same machine.
    """
    network = copy.deepcopy(checkpoint.model).eval().requires_grad_(False)
    parts = [
        _optimise(network, min(BATCH, count - start), seed + start, steps)
        for start in range(0, count, BATCH)
    ]
    origin = {"data": f"made from {checkpoint.sha256[:12]}", "seed": seed, "steps": steps}
    return CalibrationCrops(np.concatenate(parts), origin)


def _optimise(network: AgeNet, count: int, seed: int, steps: int) -> Crops:
    """Return `count` crops whose statistics in each batch norm are near the stored ones."""
    distances: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(_append_distance_to(distances))
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    generator = torch.Generator().manual_seed(seed)
    shape = (count, CROP_SIZE, CROP_SIZE, 3)
    noise = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
    pixels = noise.requires_grad_()
    optimizer = torch.optim.Adam([pixels], LEARNING_RATE)
    for _ in range(steps):
        distances.clear()
        network.logits(255 * pixels.sigmoid())
        optimizer.zero_grad()
        torch.stack(distances).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    for handle in handles:
        handle.remove()
    return (255 * pixels.detach().sigmoid()).round().byte().numpy()


def _append_distance_to(distances: list[Tensor]) -> Callable[[Any, tuple[Any, ...]], None]:
    """Return a hook that appends how far a batch norm's input is from its stored statistics.

    The distance is that of mean and deviation of each channel, in units of the stored deviation.
    """

    def hook(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        variance, mean = inputs[0].var((0, 2, 3)), inputs[0].mean((0, 2, 3))
        scale = norm.running_var + norm.eps
        stored = norm.running_var.sqrt()
        error = (mean - norm.running_mean) ** 2 + ((variance + norm.eps).sqrt() - stored) ** 2
        distances.append((error / scale).mean())

    return hook
