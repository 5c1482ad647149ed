"""Faults of photos: prepared photos that are made smaller, blurred, darker, brighter or cut off."""

from collections.abc import Callable

import cv2
import numpy as np

from halnet.datasets.record import Record
from halnet.faces.alignment import CROP_SIZE, TEMPLATE, Landmarks
from halnet.photos.images import Image

Faulty = tuple[Image, Landmarks, tuple[int, int]]  # crop, landmarks, size of the photo
# Takes a prepared photo, 224 x 224 x 3 uint8 RGB, its record and a step of the fault.
Fault = Callable[[Image, Record, float], Faulty]


def shrink(crop: Image, record: Record, level: float) -> Faulty:
    """Return the photo with eyes `level` pixels apart."""
    side = max(1, round(CROP_SIZE * level / 56))
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR)
    factor = level / float(np.hypot(*(landmarks_of(record)[1] - landmarks_of(record)[0])))
    width, height = (max(1, round(factor * (side or 1))) for side in (record.width, record.height))
    return np.asarray(large, np.uint8), landmarks_of(record) * np.float32(factor), (width, height)


def scale_light(crop: Image, record: Record, level: float) -> Faulty:
    """Return the photo with `level` times the light. What is brighter than white is white."""
    return np.asarray(cv2.convertScaleAbs(crop, alpha=level), np.uint8), *_place(record)


def blur(crop: Image, record: Record, level: float) -> Faulty:
    """Return the photo blurred by a Gaussian of `level` pixels of the crop."""
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), level), np.uint8), *_place(record)


def cut(crop: Image, record: Record, level: float) -> Faulty:
    """Return a photo that ends inside the crop, so that the share `level` of it is left.

    It ends at the left, at the right or at the bottom, by the name of the photo.
    """
    left = round(CROP_SIZE * level)
    result, places, size = crop.copy(), TEMPLATE.astype(np.float32), [CROP_SIZE, CROP_SIZE]
    side = sum(record.source.encode(errors="surrogateescape")) % 3
    size[side == 2] = left
    if side == 0:  # the left part of the crop is outside
        result[:, : CROP_SIZE - left] = 0
        places[:, 0] -= CROP_SIZE - left
    elif side == 1:
        result[:, left:] = 0
    else:
        result[left:] = 0
    return result, places, (size[0], size[1])


FAULTS: dict[str, tuple[Fault, tuple[float, ...]]] = {
    "too small": (shrink, (28, 20, 14, 10, 8, 6, 5)),
    "blurred": (blur, (2, 3, 4, 5, 6)),
    "too dark": (scale_light, (0.4, 0.3, 0.2, 0.15, 0.1)),
    "too bright": (scale_light, (1.5, 2, 2.5, 3)),
    "cut off": (cut, (0.85, 0.75, 0.65, 0.55, 0.45)),
}
# What is checked on test photos: the reason, the degradation and its step.
CHECKS: dict[str, tuple[Fault, float, str]] = {
    "too small": (shrink, 8.0, "eyes 8 pixels apart"),
    "blurred": (blur, 6.0, "Gaussian of 6 pixels"),
    "too dark": (scale_light, 0.1, "a tenth of the light"),
    "too bright": (scale_light, 3.0, "three times the light"),
}


def landmarks_of(record: Record) -> Landmarks:
    """Return the landmarks of a record, 5 x 2 float32 in pixels of its photo."""
    return np.array(record.landmarks, np.float32).reshape(5, 2)


def _place(record: Record) -> tuple[Landmarks, tuple[int, int]]:
    return landmarks_of(record), (record.width or 1, record.height or 1)
