"""Drawing: boxes and ages of faces on a photo, and a note in its corner."""

from collections.abc import Sequence

import cv2
import numpy as np

from halnet.ages import LEVEL
from halnet.photos.images import Image
from halnet.results import Face

BOX_COLOUR = (255, 176, 0)  # RGB, amber: differs from skin for people with colour blindness too
TEXT_COLOUR = (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_faces(image: Image, faces: Sequence[Face], level: float = LEVEL) -> Image:
    """Return a copy of an H x W x 3 uint8 RGB photo with the box and the age of each face.

    The text, such as "38 (22-58)", states the age and its interval at `level` in years. It is
    inside the photo, even for a face at the border.
    """
    canvas = image.copy()
    thickness = max(2, round(max(image.shape[:2]) / 250))
    for face in faces:
        x, y, width, height = (round(value) for value in face.box)
        cv2.rectangle(canvas, (x, y), (x + width, y + height), BOX_COLOUR, thickness)
        low, high = face.interval(level)
        _write(canvas, f"{face.age:.0f} ({low:.0f}-{high:.0f})", x, y, max(0.4, width / 200))
    return canvas


def draw_note(image: Image, text: str) -> Image:
    """Return a copy of an H x W x 3 uint8 RGB photo with a line of text in its lower left corner.

    A text that is wider than the photo is written smaller. If it is still too wide at the smallest
    size, its end is cut off.
    """
    canvas = image.copy()
    text = _drawable(text)
    scale = max(0.4, canvas.shape[1] / 1100)
    (width, _), _ = cv2.getTextSize(text, FONT, scale, 1)
    scale = max(0.3, min(scale, scale * 0.95 * canvas.shape[1] / max(width, 1)))
    _write(canvas, text, 0, canvas.shape[0] - 1, scale)
    return canvas


def _write(canvas: Image, text: str, x: int, y: int, scale: float) -> None:
    """Write text on a bar whose lower left corner is (x, y), if the bar is then in the photo.

    Otherwise, the bar is moved into the photo.
    """
    weight = max(1, round(scale * 1.6))
    (width, height), baseline = cv2.getTextSize(text, FONT, scale, weight)
    pad = round(height * 0.4)
    x = int(np.clip(x, 0, max(0, canvas.shape[1] - width - 2 * pad)))
    bottom = max(min(y, canvas.shape[0] - 1), height + baseline + pad)
    top = bottom - height - baseline - pad
    cv2.rectangle(canvas, (x, top), (x + width + 2 * pad, bottom), BOX_COLOUR, cv2.FILLED)
    origin = (x + pad, bottom - baseline)
    cv2.putText(canvas, text, origin, FONT, scale, TEXT_COLOUR, weight, cv2.LINE_AA)


def _drawable(text: str) -> str:
    """Return a text with "?" for bytes of file names that are not UTF-8: OpenCV crashes on them."""
    return text.encode(errors="replace").decode()
