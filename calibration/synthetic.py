"""Synthetic samples: crops made from the checkpoint alone, for users who have no photos.

A batch norm remembers the mean and deviation that each channel had in training. Crops are optimised
until they bring about the same ones, as ZeroQ does [Cai et al., CVPR 2020, section 3.1]: they look
like nothing, but the ranges in the network are those of faces.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from halnet.alignment import CROP_SIZE
from halnet.calibration.crops import CalibrationCrops
from halnet.runtimes.base import Crops

if TYPE_CHECKING:
    from torch import Tensor

    from halnet.network.checkpoint import Checkpoint
    from halnet.network.model import AgeNet

COUNT = 32
BATCH = 16
STEPS = 120
LEARNING_RATE = 0.1  # of Adam, on the logits of the pixels


def make_synthetic_crops(
    checkpoint: "Checkpoint",
    count: int = COUNT,
    seed: int = 0,
    steps: int = STEPS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CalibrationCrops:
    """Return crops made from a checkpoint's batch norms: the same for the same seed and machine."""
    parts = []
    for start in range(0, count, BATCH):
        parts.append(_synthesise(checkpoint.model, min(BATCH, count - start), seed + start, steps))
        on_progress(min(start + BATCH, count), count)
    origin = {"data": f"made from {checkpoint.sha256[:12]}", "seed": seed, "steps": steps}
    return CalibrationCrops(np.concatenate(parts), origin)


def _synthesise(network: "AgeNet", count: int, seed: int, steps: int) -> Crops:
    import torch

    network = network.eval().requires_grad_(False)
    distances: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(_note_distance(distances))
        for module in network.modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(count, CROP_SIZE, CROP_SIZE, 3, generator=generator).requires_grad_()
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


def _note_distance(distances: "list[Tensor]") -> Callable[[Any, tuple[Any, ...]], None]:
    """Return a hook that notes how far a batch norm's input is from what it remembers.

    Mean and deviation, per channel, in units of the remembered deviation.
    """

    def hook(norm: Any, inputs: "tuple[Tensor, ...]") -> None:
        variance, mean = inputs[0].var((0, 2, 3)), inputs[0].mean((0, 2, 3))
        scale = norm.running_var + norm.eps
        remembered = norm.running_var.sqrt()
        error = (mean - norm.running_mean) ** 2 + ((variance + norm.eps).sqrt() - remembered) ** 2
        distances.append((error / scale).mean())

    return hook
