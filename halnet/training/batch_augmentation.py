"""Augmentation of whole batches on the device of the training, for a GPU that would wait.

The crops have the same distribution as those of `halnet.training.augmentation`, but they are not
the same crops, because the random numbers are drawn for a batch at once.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from halnet.faces.alignment import MARGIN, PREPARED_SIZE, TEMPLATE
from halnet.training import augmentation as single
from halnet.training.augmentation import MOST_DEGRADATIONS, PhotoChanges, colour_matrix
from halnet.training.batch_degradations import degrade_batch

Matrices = NDArray[np.float64]  # N x 2 x 3


@torch.no_grad()
def augment_batch(
    crops: Tensor, size: int, changes: PhotoChanges, rng: np.random.Generator
) -> Tensor:
    """Return random variants of crops that have their margin, also with autocast in float32.

    `crops` is N x P x P x 3 uint8 RGB. The result is N x `size` x `size` x 3 float32 RGB, whole
    numbers from 0 to 255. Only the noise of single pixels comes from PyTorch's random numbers;
    everything else comes from `rng`.
    """
    count, side = crops.shape[:2]
    with torch.autocast(crops.device.type, enabled=False):
        images = crops.permute(0, 3, 1, 2).float().contiguous()
        if changes.degrade:
            images = degrade_batch(images, changes.degrade, MOST_DEGRADATIONS, changes.names, rng)
        matrices = _join(
            draw_matrices(count, side, size, rng), draw_errors(count, side, changes.jitter, rng)
        )
        images = change_colours(warp(images, matrices, size), draw_colours(count, rng))
        return erase(images, rng).permute(0, 2, 3, 1)


def draw_matrices(count: int, side: int, size: int, rng: np.random.Generator) -> Matrices:
    """Return random flips, rotations, scales and shifts, from P x P crops to those of `size`."""
    turn, grow, right, down = rng.uniform(-1, 1, (4, count))
    factor = np.exp(single.SCALE * grow)
    angle = np.radians(single.ROTATION * turn)
    cosine, sine = factor * np.cos(angle), factor * np.sin(angle)
    middle = (side - 1) / 2
    matrices = np.empty((count, 2, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = cosine, sine
    matrices[:, 1, 0], matrices[:, 1, 1] = -sine, cosine
    matrices[:, 0, 2] = (1 - cosine - sine) * middle + single.SHIFT * size * right
    matrices[:, 1, 2] = (1 - cosine + sine) * middle + single.SHIFT * size * down
    matrices[:, :, 2] += (size - side) / 2
    mirrored = rng.random(count) < 0.5
    matrices[mirrored, 0] *= -1
    matrices[mirrored, 0, 2] += size - 1
    return matrices


def draw_errors(count: int, side: int, jitter: float, rng: np.random.Generator) -> Matrices:
    """Return the similarities of random errors of the landmarks, as `alignment_error` has one.

    `jitter` is the standard deviation of each coordinate, in pixels of the prepared crop.
    """
    scale = side / PREPARED_SIZE
    points = (TEMPLATE + MARGIN + 0.5) * scale - 0.5
    moved = points + jitter * scale * rng.standard_normal((count, *points.shape))
    p, q = moved[..., 0] + 1j * moved[..., 1], points[:, 0] + 1j * points[:, 1]
    p_mean, q_mean = p.mean(axis=1), q.mean()
    centred = p - p_mean[:, None]
    a = (centred.conj() * (q - q_mean)).sum(axis=1) / (np.abs(centred) ** 2).sum(axis=1)
    b = q_mean - a * p_mean
    rows = [np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)]
    return np.stack(rows, axis=1)


def _join(after: Matrices, first: Matrices) -> Matrices:
    """Return the matrices that do what `first` does, and then what `after` does."""
    joined = after[:, :, :2] @ first
    joined[:, :, 2] += after[:, :, 2]
    return joined


def warp(images: Tensor, matrices: Matrices, size: int) -> Tensor:
    """Return N x 3 x `size` x `size` images, moved by matrices in pixels. Outside is black."""
    whole = np.zeros((len(matrices), 3, 3))
    whole[:, :2], whole[:, 2, 2] = matrices, 1
    back = torch.from_numpy(np.linalg.inv(whole)[:, :2].astype(np.float32)).to(images.device)
    pixels = torch.arange(size, dtype=torch.float32, device=images.device)
    x, y = pixels[None, None, :, None], pixels[None, :, None, None]
    columns = (column[:, None, None, :] for column in back.unbind(dim=2))
    from_x, from_y, start = columns  # each N x 1 x 1 x 2
    places = from_x * x + from_y * y + start  # N x size x size x 2, pixels of the images
    grid = (2 * places + 1) / images.shape[2] - 1
    return F.grid_sample(images, grid, mode="bilinear", align_corners=False)


def draw_colours(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return random changes of brightness, contrast and saturation, N x 3 x 4."""
    brightness, contrast, saturation = rng.uniform(-1, 1, (3, count))
    gray = rng.random(count) < single.GRAY_RATE
    factors = zip(
        1 + single.BRIGHTNESS * brightness,
        1 + single.CONTRAST * contrast,
        np.where(gray, 0.0, 1 + single.SATURATION * saturation),
        strict=True,
    )
    return np.stack([colour_matrix(*values) for values in factors]).astype(np.float32)


def change_colours(images: Tensor, matrices: NDArray[np.float32]) -> Tensor:
    """Return N x 3 x H x W images whose pixels are changed by 3 x 4 matrices, whole numbers."""
    changes = torch.from_numpy(matrices).to(images.device)
    changed = torch.einsum("nij,njhw->nihw", changes[:, :, :3], images)
    return (changed + changes[:, :, 3, None, None]).round().clamp(0, 255)


def erase(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Fill a random rectangle of a share of the images with one colour, N x 3 x S x S."""
    count, size = len(images), images.shape[2]
    area = rng.uniform(*single.ERASE_AREA, count) * size * size
    ratio = np.exp(rng.uniform(-1, 1, count))  # height / width
    height, width = (
        np.minimum(size - 1, np.sqrt(area * f).round()).astype(int) for f in (ratio, 1 / ratio)
    )
    top, left = rng.integers(0, size - height), rng.integers(0, size - width)
    height[rng.random(count) >= single.ERASE_RATE] = 0
    colours = rng.integers(0, 256, (count, 3)).astype(np.float32)
    ends = np.stack([top, top + height, left, left + width]).astype(np.int64)
    first_row, end_row, first_column, end_column = (
        torch.from_numpy(ends).to(images.device)[..., None].unbind()
    )
    pixels = torch.arange(size, device=images.device)
    rows = (pixels >= first_row) & (pixels < end_row)
    columns = (pixels >= first_column) & (pixels < end_column)
    inside = (rows[:, :, None] & columns[:, None, :])[:, None]
    fill = torch.from_numpy(colours).to(images.device)[:, :, None, None]
    return torch.where(inside, fill, images)
