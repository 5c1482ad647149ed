"""Photo view: a photo whose pixels are decoded only as large as its faces need them.

This is the way from a photo to the crops of its faces, in predictions and in prepared datasets.
The detector sees a photo of 640 pixels, and a crop has 224. A photo of 12 megapixels is therefore
decoded to a quarter of its width and height, which is several times as fast. If a face is so small
that its crop would get too few pixels, the photo is decoded again.
"""

import math
from collections.abc import Sequence

import numpy as np

from halnet.faces.alignment import TEMPLATE, Landmarks, align, similarity
from halnet.faces.detected import DetectedFace, Detector, largest_first
from halnet.photos.images import Image, OpenedPhoto, Photo, open_photo


class PhotoView:
    """A photo and what was decoded of it. All coordinates are in pixels of the whole photo.

    `photo` is what `halnet.photos.images.open_photo` takes, or what it returned; `name` stands for
    the bytes in error messages. Raises what `open_photo` raises.
    """

    def __init__(self, photo: Photo | OpenedPhoto, name: str = "the image bytes") -> None:
        self._photo = photo if isinstance(photo, OpenedPhoto) else open_photo(photo, name)
        self._scale, self._picture = 0, np.empty((0, 0, 3), np.uint8)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright photo in pixels."""
        if not self._scale:
            self._decode(max(self._photo.scales))
        height, width = self._picture.shape[:2]
        return width * self._scale, height * self._scale

    def image(self) -> Image:
        """Return the whole photo, H x W x 3 uint8 RGB. Raises ImageError if it is damaged."""
        return self._decode(1)

    def detect(self, detector: Detector, min_face: float = 0.0) -> tuple[DetectedFace, ...]:
        """Return the faces that a detector finds, the largest box first; see `largest_first`.

        Raises ImageError if the photo is damaged, and what the detector raises.
        """
        # A detector that shrinks photos by itself says to how many pixels.
        wanted = getattr(detector, "detection_side", math.inf)
        scale = self._largest_scale(max(self._photo.sides) / wanted)
        image = self._decode(scale)
        found = largest_first(detector(image), image, min_face / scale)
        return tuple(face.scaled(scale, scale) for face in found)

    def crops(self, landmarks: Sequence[Landmarks], margin: int = 0) -> Image:
        """Return the aligned crops of faces, N x S x S x 3 uint8 RGB; see `align`.

        Each of `landmarks` is 5 x 2, x and y. Raises ImageError if the photo is damaged.
        """
        pixels = min(map(_pixels_per_pixel, landmarks))
        scale = self._largest_scale(pixels)
        image = self._decode(scale)
        if scale > 1:  # the centre of a pixel of the whole photo, and what it is in the decoded one
            smaller = ((places + 0.5) / scale - 0.5 for places in landmarks)
            landmarks = [places.astype(np.float32) for places in smaller]
        return np.stack([align(image, places, margin) for places in landmarks])

    def _largest_scale(self, limit: float) -> int:
        return max(scale for scale in self._photo.scales if scale <= max(limit, 1))

    def _decode(self, scale: int) -> Image:
        if scale != self._scale:
            self._picture = self._photo.decode(scale)
            self._scale = scale
        return self._picture


def _pixels_per_pixel(landmarks: Landmarks) -> float:
    """Return how many pixels of the photo a pixel of the crop is wide."""
    matrix = similarity(np.asarray(landmarks, np.float64), TEMPLATE)
    return 1 / math.hypot(matrix[0, 0], matrix[1, 0])
