"""Made photos: the bundled portrait in photos of several sizes, as the bytes of JPEG files."""

from dataclasses import dataclass

import cv2
import numpy as np

from halnet.benchmarks.samples import portrait
from halnet.photos.images import Image, encode_image

LEFT, SMALL = 73, (300, 340)  # pixels: the part of the portrait that has the face in its middle
LARGE = (4000, 3000)  # pixels: width and height of 12 megapixels
NOISE = 3.0  # standard deviation, as in a photo: a file without noise is decoded faster
GRAY = 120  # of what is behind the portraits


@dataclass(frozen=True)
class MadePhoto:
    """A photo with a known number of faces."""

    name: str
    faces: int
    size: tuple[int, int]  # pixels: width and height
    data: bytes  # of its JPEG file


def make_photos() -> tuple[MadePhoto, ...]:
    """Return a small photo with one face, and photos of 12 megapixels with one and with ten."""
    width, height = SMALL
    part = face_part()
    return (
        _make(f"{width} x {height}, 1 face", part, 1),
        _make("12 megapixels, 1 face", _tile(part, 1, 1), 1),
        _make("12 megapixels, 10 faces", _tile(part, 5, 2), 10),
    )


def face_part() -> Image:
    """Return the part of the portrait around the face, 340 x 300 x 3 uint8 RGB."""
    width, height = SMALL
    return portrait()[0][:height, LEFT : LEFT + width]


def _make(name: str, image: Image, faces: int) -> MadePhoto:
    height, width = image.shape[:2]
    return MadePhoto(name, faces, (width, height), encode_image(image, ".jpg"))


def _tile(part: Image, columns: int, rows: int) -> Image:
    """Return a photo of `LARGE` size with so many copies of a part, as large as they fit."""
    across, down = LARGE[0] // columns, LARGE[1] // rows
    height, width = part.shape[:2]
    factor = min(across / width, down / height)
    size = (int(width * factor), int(height * factor))
    enlarged = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
    photo = np.full((LARGE[1], LARGE[0], 3), GRAY, np.float32)
    for row in range(rows):
        for column in range(columns):
            x = column * across + (across - size[0]) // 2
            y = row * down + (down - size[1]) // 2
            photo[y : y + size[1], x : x + size[0]] = enlarged
    photo += np.random.default_rng(0).normal(0, NOISE, photo.shape).astype(np.float32)
    return np.clip(photo, 0, 255).astype(np.uint8)
