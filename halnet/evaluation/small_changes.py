"""Small changes of a photo or a crop, after which a person looks as old as before.

A second photo of the same moment would differ in such ways. They take and return an image,
H x W x 3 uint8, RGB.
"""

from collections.abc import Callable

import cv2
import numpy as np

from halnet.photos.images import Image

JPEG_QUALITY = 80
LIGHT = 0.1  # share by which an image is made brighter or darker


def move(right: int, down: int) -> Callable[[Image], Image]:
    """Return a change that moves an image by whole pixels and repeats those of its border."""

    def change(image: Image) -> Image:
        matrix = np.array([[1, 0, right], [0, 1, down]], np.float64)
        size = image.shape[1::-1]
        moved = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)

    return change


def compress(image: Image) -> Image:
    """Return an image that was written as a JPEG file and read again."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def light(factor: float) -> Callable[[Image], Image]:
    """Return a change that multiplies each value; what is brighter than white is white."""
    return lambda image: np.asarray(cv2.convertScaleAbs(image, alpha=factor), np.uint8)


SMALL_CHANGES: dict[str, Callable[[Image], Image]] = {
    "one pixel to the left": move(-1, 0),
    "one pixel to the right": move(1, 0),
    "one pixel up": move(0, -1),
    "one pixel down": move(0, 1),
    f"JPEG of quality {JPEG_QUALITY}": compress,
    f"{LIGHT:.0%} brighter": light(1 + LIGHT),
    f"{LIGHT:.0%} darker": light(1 - LIGHT),
}
