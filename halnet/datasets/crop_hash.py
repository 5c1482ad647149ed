"""Hashes of prepared crops: copies of one photo have nearly equal hashes.

Public face datasets contain copies of a photo, often with other ages. A copy differs by its size,
compression or colours, so its bytes differ, but the face in its aligned crop looks the same. The
hash describes the inner face by 64 coefficients of a discrete cosine transform, as other perceptual
hashes do [Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010]. All
aligned faces are alike, so each coefficient is compared with its median over many faces instead of
with the median of the same photo. Each bit is then 1 for about half of the faces.

The medians and scales were measured on 1,800 crops of each of four datasets: All-Age-Faces,
UTKFace, AFAD and FairFace.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.photos.images import Image
from halnet.trained_on import Hashes

INNER = slice(48, 208)  # pixels of a prepared 256-pixel crop: the face without the background
SIDE = 40  # pixels a side of the picture that is transformed
LOW = 10  # coefficients a side of the corner with the low frequencies
BITS = 64
BLOCK = 4_000_000  # pairs of hashes that are compared at a time, which bounds the memory

# Two photos are copies if at most `MAX_DISTANCE` bits differ and the similarity is at least
# `MIN_SIMILARITY`. Among the 530 million pairs of the four datasets above, 755 pairs with so few
# different bits have inner faces that correlate by more than 0.92 (all that were looked at were
# copies). The similarity keeps 97 % of them, and 5 pairs that correlate by less than 0.88.
MAX_DISTANCE = 8
MIN_SIMILARITY = 0.945
# If only the hashes are known, as for the photos that a checkpoint was trained on, fewer bits may
# differ. At this distance, all pairs correlate by more than 0.8, and nearly all by more than 0.92.
MAX_DISTANCE_ALONE = 3

MEDIANS = np.array(
    [
        *(-0.59, -9.93, -12.79, 0.09, -12.41, -0.01, -1.15, -0.15, -2.14, -4.51, 0.26, 0.4, 0.01),
        *(-4.86, -0.2, 1.38, 0.15, 1.4, -0.15, -6.39, -3.29, 0.18, 1.84, -0.02, 1.29, 0.12),
        *(-3.91, -0.2, -0.02, -0.08, -1.74, 0.15, 3.52, 0.07, 0.37, -0.43, 0.03, 2.62, 0.06),
        *(1.37, 0.01, 1.4, 0.1, 0.13, -0.36, 0.39, 0.05, 1.34, -0.07, 1.01, -0.16, -0.08, -0.02),
        *(-0.35, 0.12, -0.26, 0.17, -0.16, -0.01, 0.87, -0.09, -0.37, 0.02, 0.07),
    ],
    np.float32,
)
SCALES = np.array(
    [
        *(7.17, 5.58, 7.06, 2.77, 3.49, 3.62, 3.92, 2.32, 4.68, 3.43, 2.22, 2.52, 1.46, 3.35),
        *(2.69, 1.94, 1.67, 2.2, 1.34, 2.87, 2.62, 1.72, 1.93, 1.06, 1.74, 1.1, 2.2, 2.31, 1.44),
        *(1.36, 1.67, 1.02, 1.42, 0.96, 1.71, 2.12, 1.37, 1.68, 1.13, 1.26, 0.86, 1.23, 0.85),
        *(1.54, 1.5, 1.18, 1.41, 1.21, 0.93, 1.03, 0.76, 1.08, 0.71, 1.48, 0.99, 1.23, 0.9, 1.0),
        *(0.73, 0.98, 0.58, 0.91, 0.61, 1.09),
    ],
    np.float32,
)
# Positions of the coefficients in the corner, by rising frequency, without the mean.
_ORDER = np.argsort([i // LOW + i % LOW for i in range(LOW * LOW)], kind="stable")[1 : BITS + 1]


def describe_crop(crop: Image) -> NDArray[np.float32]:
    """Return 64 coefficients of a prepared 256 x 256 x 3 uint8 RGB crop, minus their medians."""
    gray = cv2.cvtColor(np.ascontiguousarray(crop[INNER, INNER]), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    small /= small.std() + 1e-6
    corner = np.asarray(cv2.dct(small), np.float32)[:LOW, :LOW]
    return np.asarray(corner.ravel()[_ORDER] - MEDIANS, np.float32)


def hash_crop(crop: Image) -> int:
    """Return the 64-bit hash of a prepared 256 x 256 x 3 uint8 RGB crop."""
    return hash_description(describe_crop(crop))


def hash_description(description: NDArray[np.float32]) -> int:
    """Return the 64-bit hash of what `describe_crop` returned: one bit for each sign."""
    return int.from_bytes(np.packbits(description > 0).tobytes(), "big")


def similarity(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the similarity of two descriptions, -1 to 1: the cosine of the scaled coefficients."""
    a, b = first / SCALES, second / SCALES
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def find_close(
    first: Sequence[int] | Hashes,
    second: Sequence[int] | Hashes,
    max_distance: int = MAX_DISTANCE_ALONE,
) -> list[tuple[int, int]]:
    """Return the pairs (index in `first`, index in `second`) whose hashes differ in few bits."""
    a, b = np.asarray(first, np.uint64), np.asarray(second, np.uint64)
    rows = 1 + BLOCK // max(1, len(b))
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(a), rows):
        pairs += _close(a[start : start + rows], b, start, 0, max_distance)
    return pairs


def find_close_within(
    hashes: Sequence[int] | Hashes, max_distance: int = MAX_DISTANCE_ALONE
) -> list[tuple[int, int]]:
    """Return the pairs of indices (i, j), i < j, whose hashes differ in few bits."""
    values = np.asarray(hashes, np.uint64)
    rows = 1 + BLOCK // max(1, len(values))
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(values), rows):
        found = _close(values[start : start + rows], values[start:], start, start, max_distance)
        pairs += [(i, j) for i, j in found if i < j]
    return pairs


def _close(
    a: Hashes, b: Hashes, a_start: int, b_start: int, max_distance: int
) -> list[tuple[int, int]]:
    distance = _count_bits(a[:, None] ^ b[None, :])
    rows, columns = np.nonzero(distance <= max_distance)
    return list(zip((rows + a_start).tolist(), (columns + b_start).tolist(), strict=True))


def _count_bits(values: Hashes) -> NDArray[np.uint8]:
    """Return the number of set bits of each 64-bit value."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.asarray(np.bitwise_count(values), np.uint8)
    table = np.array([bin(i).count("1") for i in range(65536)], np.uint8)
    parts = values.view(np.uint16).reshape(*values.shape, 4)
    return np.asarray(table[parts].sum(axis=-1), np.uint8)
