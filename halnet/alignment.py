"""Alignment: five facial landmarks onto one fixed template, a crop of 224 x 224 RGB.

Template, in pixels of the 224 x 224 crop, pixel centres at whole numbers:

    left eye (84, 96)   right eye (140, 96)   nose tip (112, 128)
    left mouth corner (89, 161)   right mouth corner (135, 161)

"Left" is the image's left, the subject's right. The proportions are those of the widely used
ArcFace template made symmetric; the eyes stand 56 pixels apart, a quarter of the width, so that
forehead, hair line, chin and ears, which all tell age, lie inside the crop.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.images import Image

CROP_SIZE = 224  # pixels a side of the crop that the network sees
MARGIN = 16  # pixels that a prepared crop has more on each side, for augmentation
PREPARED_SIZE = CROP_SIZE + 2 * MARGIN  # 256 pixels

Matrix = NDArray[np.float64]
Landmarks = NDArray[np.float32]

TEMPLATE: NDArray[np.float64] = np.array(
    [[84, 96], [140, 96], [112, 128], [89, 161], [135, 161]], np.float64
)
TEMPLATE.setflags(write=False)


def align(image: Image, landmarks: Landmarks, margin: int = 0) -> Image:
    """Cut the aligned crop of one face.

    `image` is H x W x 3 uint8 RGB; `landmarks` 5 x 2 pixels (x, y) in the template's order.
    Returns S x S x 3 uint8 RGB with S = 224 + 2 * margin and the template `margin` pixels further
    in, so the centre of a crop with margin is the crop without. What lies outside the photo is
    black.
    """
    matrix = similarity(np.asarray(landmarks, np.float64), TEMPLATE + margin)
    # A bilinear warp that shrinks by more than two skips pixels: average them first.
    shrink = int(1 / math.hypot(matrix[0, 0], matrix[1, 0]))
    if shrink >= 2:
        height, width = image.shape[:2]
        small = (max(1, width // shrink), max(1, height // shrink))
        # Pixel centres: x_full = (x_small + 0.5) * scale - 0.5
        scale = np.array([width / small[0], height / small[1]])
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = matrix.copy()
        matrix[:, 2] += matrix[:, :2] @ (0.5 * scale - 0.5)
        matrix[:, :2] *= scale
    size = CROP_SIZE + 2 * margin
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def similarity(source: Matrix, target: Matrix) -> Matrix:
    """Least-squares rotation, uniform scale and translation from N x 2 to N x 2 points.

    Returns the 2 x 3 matrix M with target = M[:, :2] @ source + M[:, 2]. In the plane the
    solution of Umeyama (PAMI 1991) without reflection has a closed form over complex numbers.
    """
    p = source[:, 0] + 1j * source[:, 1]
    q = target[:, 0] + 1j * target[:, 1]
    p_mean, q_mean = p.mean(), q.mean()
    centred = p - p_mean
    a = np.vdot(centred, q - q_mean) / np.vdot(centred, centred).real
    b = q_mean - a * p_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def inner_crop(crop: Image) -> Image:
    """Return the 224 x 224 view of a prepared 256 x 256 crop (or of a batch of them)."""
    return crop[..., MARGIN : MARGIN + CROP_SIZE, MARGIN : MARGIN + CROP_SIZE, :]
