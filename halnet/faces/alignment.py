"""Alignment: move five facial landmarks onto a fixed template and cut a crop of 224 x 224 pixels.

These are the coordinates (x, y) of the template, in pixels of the crop. The centre of the top left
pixel is (0, 0).

    left eye (84, 96)   right eye (140, 96)   nose tip (112, 128)
    left mouth corner (89, 161)   right mouth corner (135, 161)

"Left" means the left side of the image, which is the right side of the person. The proportions are
those of the widely used ArcFace template, made symmetric. The distance between the eyes is 56
pixels, a quarter of the width. Forehead, hairline, chin and ears are therefore inside the crop: all
of them show the age.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.photos.images import Image

CROP_SIZE = 224  # pixels: width and height of the crop that the network sees
MARGIN = 16  # pixels that a prepared crop has in addition on each side, for augmentation
PREPARED_SIZE = CROP_SIZE + 2 * MARGIN  # 256 pixels
MAX_ROLL = 25.0  # degrees from upright up to which a face counts as upright

Matrix = NDArray[np.float64]
Landmarks = NDArray[np.float32]

TEMPLATE: NDArray[np.float64] = np.array(
    [[84, 96], [140, 96], [112, 128], [89, 161], [135, 161]], np.float64
)
TEMPLATE.setflags(write=False)
_CENTRED: list[tuple[float, float]] = [
    (x, y) for x, y in (TEMPLATE - TEMPLATE.mean(axis=0)).tolist()
]


def align(image: Image, landmarks: Landmarks, margin: int = 0) -> Image:
    """Return the aligned crop of one face.

    `image` is an H x W x 3 uint8 RGB photo. `landmarks` is 5 x 2, x and y in pixels of the photo,
    in the order of the template. The crop is S x S x 3 uint8 RGB with S = 224 + 2 * margin. The
    template is moved by `margin` pixels, so the centre of a crop with a margin shows the same as
    the crop without one. Parts of the crop that are outside the photo are black.
    """
    matrix = similarity(np.asarray(landmarks, np.float64), TEMPLATE + margin)
    # A bilinear warp that shrinks the photo by two or more skips pixels. Average them first.
    shrink = int(1 / math.hypot(matrix[0, 0], matrix[1, 0]))
    if shrink >= 2:
        height, width = image.shape[:2]
        small = (max(1, width // shrink), max(1, height // shrink))
        resized = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
        image, matrix = resized, for_resized(matrix, image, resized)
    size = CROP_SIZE + 2 * margin
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def for_resized(matrix: Matrix, image: Image, resized: Image) -> Matrix:
    """Return the 2 x 3 matrix from the pixels of a resized image, for one from those of the image.

    Both images are H x W x 3. The centres of pixels follow x = (x_resized + 0.5) * scale - 0.5.
    """
    scale = np.divide(image.shape[1::-1], resized.shape[1::-1])
    result = matrix.copy()
    result[:, 2] += matrix[:, :2] @ (0.5 * scale - 0.5)
    result[:, :2] *= scale
    return result


def similarity(source: Matrix, target: Matrix) -> Matrix:
    """Return the least-squares rotation, scale and translation from N x 2 to N x 2 points.

    The result is the 2 x 3 float64 matrix M with target = M[:, :2] @ source + M[:, 2]. It never
    mirrors. In the plane, the solution of Umeyama (PAMI 1991) has a closed form over complex
    numbers, which is used here.
    """
    p = source[:, 0] + 1j * source[:, 1]
    q = target[:, 0] + 1j * target[:, 1]
    p_mean, q_mean = p.mean(), q.mean()
    centred = p - p_mean
    a = np.vdot(centred, q - q_mean) / np.vdot(centred, centred).real
    b = q_mean - a * p_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def roll(landmarks: Landmarks) -> float:
    """Return the angle in degrees by which a face is turned clockwise, above -180 and up to 180.

    `landmarks` is 5 x 2, x and y in pixels, in the order of the template. The face is upright at 0.
    """
    # The angle of the similarity to the template, without its scale and its translation. For five
    # places, numpy would take several times as long.
    cosine = sine = 0.0
    for (x, y), (across, down) in zip(np.asarray(landmarks).tolist(), _CENTRED, strict=True):
        cosine += across * x + down * y
        sine += across * y - down * x
    return math.degrees(math.atan2(sine, cosine))


def inner_crop(crop: Image) -> Image:
    """Return the inner 224 x 224 pixels of prepared crops, ... x 256 x 256 x 3, as a view."""
    return crop[..., MARGIN : MARGIN + CROP_SIZE, MARGIN : MARGIN + CROP_SIZE, :]
