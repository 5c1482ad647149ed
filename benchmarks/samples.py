"""Sample crops: variants of the bundled portrait, for checks without a dataset."""

import json
from typing import Any

import cv2
import numpy as np

from halnet.artifact import bundled
from halnet.faces.alignment import MARGIN, align, inner_crop
from halnet.faces.detected import DetectedFace
from halnet.photos.images import Image, load_image
from halnet.runtimes.base import Crops

PORTRAIT = "portrait.jpg"  # NASA's photo of Eileen Collins, public domain
SHIFTS = (-12, 0, 12)  # pixels
BLURS = (0.0, 2.5)  # standard deviation, pixels
DARKENING = (1.0, 0.5)  # factor


def portrait() -> tuple[Image, DetectedFace]:
    """Return the bundled portrait, H x W x 3 uint8 RGB, and the face that is stored with it."""
    stored: dict[str, Any] = json.loads(bundled("portrait.json").read_text(encoding="utf-8"))
    x, y, width, height = stored["box"]
    face = DetectedFace(
        (x, y, width, height), np.array(stored["landmarks"], np.float32), stored["score"]
    )
    return load_image(bundled(PORTRAIT)), face


def sample_crops() -> Crops:
    """Return 72 crops of the portrait, 72 x 224 x 224 x 3 uint8 RGB.

    They are shifted, flipped, blurred and darkened in all combinations.
    """
    image, face = portrait()
    wide = align(image, face.landmarks, MARGIN)
    crops = []
    for dx in SHIFTS:
        for dy in SHIFTS:
            moved = inner_crop(np.roll(wide, (dy, dx), axis=(0, 1)))
            for mirrored in (moved, moved[:, ::-1]):
                for blur in BLURS:
                    soft = cv2.GaussianBlur(mirrored, (0, 0), blur) if blur else mirrored
                    crops += [(soft * factor).astype(np.uint8) for factor in DARKENING]
    return np.stack(crops)
