"""The degradations of `halnet.evaluation.degradations` for whole batches, on any device.

Each function takes N x 3 x P x P float32 RGB crops with values from 0 to 255, N strengths from 0 to
1, and a random generator. It returns new crops, which `degrade_batch` rounds. The noise of single
pixels comes from PyTorch's random numbers on the device, everything else from the generator.

Blurs and changes of the resolution are linear. Rows and columns are changed alike, so each is a
P x P matrix M, which gives M @ crop @ M.T. The matrices come from OpenCV, so that the crops are
those of the functions for single crops.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from halnet.evaluation import degradations as single

Strengths = NDArray[np.float64]
BatchDegradation = Callable[[Tensor, Strengths, np.random.Generator], Tensor]

LEVELS = 64  # the number of different strengths, so that few matrices are needed
_BLOCK = 8  # pixels: width and height of a block of a JPEG file
# The quantisation tables of ITU-T T.81, annex K, for luma and chroma.
_LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# From RGB to luma and the two chroma differences of a JPEG file, which have 0 for gray.
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def draw_strengths(count: int, rng: np.random.Generator) -> Strengths:
    """Return N strengths between 0 and 1, one of LEVELS values each."""
    return np.asarray((rng.integers(LEVELS, size=count) + 0.5) / LEVELS, np.float64)


def degrade_batch(
    crops: Tensor, rate: float, most: int, names: Sequence[str], rng: np.random.Generator
) -> Tensor:
    """Return crops of which a share has random degradations, N x 3 x P x P float32, 0 to 255.

    A crop gets degradations with the probability `rate`: 1 to `most` different ones of `names`.
    """
    chosen = np.flatnonzero(rng.random(len(crops)) < rate)
    most = min(most, len(names))
    counts = rng.integers(1, most + 1, len(chosen))
    order = rng.permuted(np.tile(np.arange(len(names)), (len(chosen), 1)), axis=1)
    crops = crops.clone()
    for turn in range(most):
        for number, name in enumerate(names):
            rows = chosen[(order[:, turn] == number) & (counts > turn)]
            if len(rows):
                index = torch.from_numpy(rows).to(crops.device)
                strengths = draw_strengths(len(rows), rng)
                changed = BATCH_DEGRADATIONS[name](crops[index], strengths, rng)
                crops[index] = changed.round().clamp(0, 255)
    return crops


def add_noise(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Add independent Gaussian noise to each value."""
    return crops + _each(single.NOISE * strengths, crops) * torch.randn_like(crops)


def add_grain(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Add gray noise that is wider than a pixel."""
    side = crops.shape[2]
    grain = torch.randn_like(crops[:, :1])
    grain = _apply(_matrix(blur_matrix, side, single.GRAIN_WIDTH, crops.device), grain)
    grain = grain / grain.std(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return crops + _each(single.GRAIN * strengths, crops) * grain


def blur(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Blur the crops by Gaussians."""
    widths = [single.BLUR * float(strength) for strength in strengths]
    return _apply(_matrices(blur_matrix, crops, widths), crops)


def sharpen(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Sharpen the crops by an unsharp mask."""
    soft = _apply(_matrix(blur_matrix, crops.shape[2], single.SHARPEN_WIDTH, crops.device), crops)
    return crops + _each(single.SHARPEN * strengths, crops) * (crops - soft)


def lower_resolution(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Shrink and enlarge the crops."""
    cubic = rng.integers(2, size=len(strengths))
    # The sign says which of the two ways enlarges the crop, since a matrix depends on one number.
    scales = [single.SMALLEST ** float(strength) for strength in strengths]
    signed = [-scale if way else scale for scale, way in zip(scales, cubic, strict=True)]
    return _apply(_matrices(resolution_matrix, crops, signed), crops)


def compress(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Round the frequencies of blocks of 8 x 8 pixels, as a JPEG file with 4:2:0 chroma does."""
    first, last = single.JPEG_QUALITY
    return jpeg(crops, np.round(first + (last - first) * strengths**0.5))


def jpeg(crops: Tensor, qualities: Strengths) -> Tensor:
    """Return crops as they are after JPEG files of N qualities from 1 to 100.

    Tables and their scales are those of libjpeg, and the chroma has half of the resolution.
    """
    side, block = crops.shape[2], 2 * _BLOCK
    padding = -side % block
    padded = F.pad(crops, (0, padding, 0, padding), mode="replicate")
    planes = torch.einsum("ij,njhw->nihw", _tensor(np.array(_YCC), crops), padded)
    scales = np.where(qualities < 50, 5000 / qualities, 200 - 2 * qualities)
    luma = _round_blocks(planes[:, :1] - 128, _LUMA_TABLE, scales) + 128
    chroma = _round_blocks(F.avg_pool2d(planes[:, 1:], 2), _CHROMA_TABLE, scales)
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    to_rgb = _tensor(np.linalg.inv(np.array(_YCC)), crops)
    decoded = torch.einsum("ij,njhw->nihw", to_rgb, torch.cat([luma, chroma], dim=1))
    return decoded[:, :, :side, :side]


def remove_colour(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Move colours towards gray."""
    luma = _tensor(np.array(_YCC[0]), crops).view(1, 3, 1, 1)
    return torch.lerp(crops, (crops * luma).sum(dim=1, keepdim=True), _each(strengths, crops))


def tint(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Multiply each channel by its own factor."""
    factors = 1 + single.CAST * strengths[:, None] * rng.uniform(-1, 1, (len(strengths), 3))
    return crops * _tensor(factors, crops)[:, :, None, None]


def change_tones(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Make tones darker or brighter by a power."""
    exponents = np.exp(single.TONES * strengths * rng.choice([-1.0, 1.0], len(strengths)))
    changed: Tensor = 255 * (crops / 255) ** _each(exponents, crops)
    return changed


def halftone(crops: Tensor, strengths: Strengths, rng: np.random.Generator) -> Tensor:
    """Add dots on a rotated grid."""
    first, last = single.HALFTONE_PERIOD
    frequency = 2 * np.pi / (first + (last - first) * strengths)
    angle = rng.uniform(0, np.pi / 2, len(strengths))
    across, down = (_each(frequency * f(angle), crops)[:, 0] for f in (np.cos, np.sin))
    y = torch.arange(crops.shape[2], device=crops.device, dtype=torch.float32)[None, :, None]
    x = torch.arange(crops.shape[3], device=crops.device, dtype=torch.float32)[None, None, :]
    screen = torch.cos(across * x + down * y) + torch.cos(across * y - down * x)
    return crops + _each(single.HALFTONE * strengths / 2, crops) * screen[:, None]


BATCH_DEGRADATIONS: Mapping[str, BatchDegradation] = MappingProxyType(
    {
        "noise": add_noise,
        "grain": add_grain,
        "blur": blur,
        "sharpening": sharpen,
        "resolution": lower_resolution,
        "jpeg": compress,
        "gray": remove_colour,
        "tint": tint,
        "tones": change_tones,
        "halftone": halftone,
    }
)


def blur_matrix(side: int, width: float) -> NDArray[np.float32]:
    """Return the matrix of a Gaussian blur with a standard deviation of `width` pixels, P x P."""
    identity = np.eye(side, dtype=np.float32)
    if width < 0.1:  # as for single crops
        return identity
    kernel = cv2.getGaussianKernel(int(2 * round(3 * width) + 1), width)
    return np.asarray(cv2.sepFilter2D(identity, -1, np.ones(1), kernel), np.float32)


def resolution_matrix(side: int, scale: float) -> NDArray[np.float32]:
    """Return the matrix that shrinks to a share of the width and enlarges again, P x P.

    The share is `abs(scale)`. A crop is enlarged linearly if `scale` is above 0, else cubically.
    """
    small = max(4, round(side * abs(scale)))
    method = cv2.INTER_LINEAR if scale > 0 else cv2.INTER_CUBIC
    identity = np.eye(side, dtype=np.float32)
    shrunk = cv2.resize(identity, (side, small), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (side, side), interpolation=method), np.float32)


@lru_cache(maxsize=4 * LEVELS)
def _matrix(
    make: Callable[[int, float], NDArray[np.float32]],
    side: int,
    value: float,
    device: torch.device,
) -> Tensor:
    """Return a matrix on a device, and keep it for the next batches."""
    return torch.from_numpy(make(side, value)).to(device)


def _matrices(
    make: Callable[[int, float], NDArray[np.float32]], crops: Tensor, values: Sequence[float]
) -> Tensor:
    """Return the matrices of N crops, N x 1 x P x P."""
    found = [_matrix(make, crops.shape[2], value, crops.device) for value in values]
    return torch.stack(found)[:, None]


def _apply(matrices: Tensor, crops: Tensor) -> Tensor:
    """Change rows and columns of N x C x P x P crops by P x P, or N x 1 x P x P, matrices."""
    return matrices @ crops @ matrices.transpose(-1, -2)


def _round_blocks(planes: Tensor, table: tuple[tuple[int, ...], ...], scales: Strengths) -> Tensor:
    """Return N x C x H x W planes whose blocks have frequencies rounded by a scaled table."""
    n, channels, height, width = planes.shape
    steps = np.floor((np.array(table)[None] * scales[:, None, None] + 50) / 100).clip(1, 255)
    step = _tensor(steps, planes)[:, None, None, :, None, :]  # N x 1 x 1 x 8 x 1 x 8
    dct = torch.from_numpy(_dct_matrix()).to(planes.device)
    shape = (n, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = torch.einsum("ui,nchiwj,vj->nchuwv", dct, planes.reshape(shape), dct)
    blocks = (blocks / step).round() * step
    blocks = torch.einsum("ui,nchuwv,vj->nchiwj", dct, blocks, dct)
    return blocks.reshape(planes.shape)


def _dct_matrix() -> NDArray[np.float32]:
    """Return the orthonormal DCT-II of eight values, 8 x 8."""
    return np.asarray(cv2.dct(np.eye(_BLOCK, dtype=np.float32), flags=cv2.DCT_ROWS).T, np.float32)


def _tensor(values: Strengths, like: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).to(like.device)


def _each(values: Strengths, crops: Tensor) -> Tensor:
    """Return N values as N x 1 x 1 x 1, on the device of the crops."""
    return _tensor(values, crops).view(-1, 1, 1, 1)
