"""Augmentation: random variants of a crop, which depend on nothing but a random generator.

OpenCV does the slow work, on uint8: one affine warp for flip, rotation, scale, shift and errors of
the landmarks, and one 3 x 4 matrix for brightness, contrast and saturation. Degradations come
before them, because noise, blocks and low resolution belong to the photo.
"""

import math
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.evaluation.degradations import DEGRADATIONS
from halnet.faces.alignment import MARGIN, PREPARED_SIZE, TEMPLATE, Matrix, similarity
from halnet.photos.images import Image
from halnet.training.config import TrainConfig

# The first six values are drawn evenly from minus to plus the given value.
ROTATION = 12.0  # degrees
SCALE = 0.12  # logarithm of the size factor
SHIFT = 0.05  # share of the width or height of the crop
BRIGHTNESS = 0.25  # difference of the factor from 1
CONTRAST = 0.25  # difference of the factor from 1
SATURATION = 0.4  # difference of the factor from 1
GRAY_RATE = 0.05  # share of crops that lose their colour
ERASE_RATE = 0.25  # share of crops with an erased rectangle [Zhong et al., AAAI 2020]
ERASE_AREA = (0.02, 0.2)  # smallest and largest area of the rectangle, as a share of the crop
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 weights of R, G, B
MOST_DEGRADATIONS = 2  # the largest number of degradations of one crop


@dataclass(frozen=True)
class PhotoChanges:
    """What changes photos in addition to `augment`: degradations and errors of the landmarks."""

    degrade: float = 0.0  # share of the crops with degradations, 0 to 1
    names: tuple[str, ...] = tuple(DEGRADATIONS)  # the degradations to draw from
    jitter: float = 0.0  # pixels of the prepared crop: standard deviation of each coordinate

    @classmethod
    def of(cls, config: TrainConfig) -> Self:
        """Return the changes of a recipe."""
        return cls(config.degrade, config.degradation_names, config.jitter)

    def __bool__(self) -> bool:
        return self.degrade > 0 or self.jitter > 0


NO_CHANGES = PhotoChanges()


def change_photo(
    crop: Image, changes: PhotoChanges, rng: np.random.Generator
) -> tuple[Image, Matrix]:
    """Return a crop with random degradations, and the random error of its alignment.

    `crop` is P x P x 3 uint8 RGB, and so is the result. The error is a 2 x 3 matrix in pixels of
    the crop, for `augment`.
    """
    error = alignment_error(crop.shape[0], changes.jitter, rng)
    if rng.random() >= changes.degrade:
        return crop, error
    count = min(int(rng.integers(1, MOST_DEGRADATIONS + 1)), len(changes.names))
    for name in rng.permutation(len(changes.names))[:count]:
        crop = DEGRADATIONS[changes.names[name]](crop, rng.random(), rng)
    return crop, error


def alignment_error(side: int, jitter: float, rng: np.random.Generator) -> Matrix:
    """Return the similarity that random errors of the landmarks cause, a 2 x 3 matrix.

    It maps pixels of a prepared crop, scaled to `side` pixels, to those of the crop that the
    landmarks with errors would give. `jitter` is the standard deviation of the errors of each
    coordinate, in pixels of the prepared crop.
    """
    scale = side / PREPARED_SIZE
    errors = jitter * scale * rng.standard_normal(TEMPLATE.shape)
    points = (TEMPLATE + MARGIN + 0.5) * scale - 0.5
    return similarity(points + errors, points)


def augment(crop: Image, size: int, rng: np.random.Generator, error: Matrix | None = None) -> Image:
    """Return a random variant of a crop that has its margin.

    `crop` is P x P x 3 uint8 RGB, and the result is `size` x `size` x 3 uint8 RGB. `error` is the
    result of `alignment_error`, if the landmarks have errors.
    """
    u = rng.uniform(-1, 1, 6)
    rates = rng.random(3)
    side = crop.shape[0]
    matrix = cv2.getRotationMatrix2D(
        ((side - 1) / 2, (side - 1) / 2), ROTATION * u[0], math.exp(SCALE * u[1])
    )
    matrix[:, 2] += (size - side) / 2 + SHIFT * size * u[2:4]
    if rates[0] < 0.5:  # mirror the crop
        matrix[0] = [-matrix[0, 0], -matrix[0, 1], size - 1 - matrix[0, 2]]
    if error is not None:
        matrix = matrix @ np.vstack([error, [0, 0, 1]])
    warped = cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR)
    saturation = 0.0 if rates[1] < GRAY_RATE else 1 + SATURATION * rng.uniform(-1, 1)
    colours = colour_matrix(1 + BRIGHTNESS * u[4], 1 + CONTRAST * u[5], saturation)
    image = np.asarray(cv2.transform(warped, colours), np.uint8)
    if rates[2] < ERASE_RATE:
        _erase(image, rng)
    return image


def colour_matrix(brightness: float, contrast: float, saturation: float) -> NDArray[np.float64]:
    """Return the 3 x 4 matrix that changes RGB pixels from 0 to 255 by three factors.

    Saturation comes first, then contrast about the value 128, then brightness.
    """
    saturate = saturation * np.eye(3) + (1 - saturation) * LUMA
    matrix = np.empty((3, 4))
    matrix[:, :3] = brightness * contrast * saturate
    matrix[:, 3] = brightness * 128 * (1 - contrast)
    return matrix


def _erase(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    size = image.shape[0]
    area = rng.uniform(*ERASE_AREA) * size * size
    ratio = math.exp(rng.uniform(-1, 1))  # height / width
    height, width = (min(size - 1, round(math.sqrt(area * f))) for f in (ratio, 1 / ratio))
    top, left = rng.integers(0, size - height), rng.integers(0, size - width)
    image[top : top + height, left : left + width] = rng.integers(0, 256, 3)
