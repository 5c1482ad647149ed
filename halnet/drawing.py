"""Drawing: a photo with its faces boxed and their ages written beside them."""

from collections.abc import Sequence

import cv2
import numpy as np

from halnet.images import Image
from halnet.results import Face

BOX_COLOUR = (255, 176, 0)  # amber, RGB: told from skin by every kind of colour vision
TEXT_COLOUR = (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_faces(image: Image, faces: Sequence[Face], level: float = 0.9) -> Image:
    """Return a copy of an H x W x 3 uint8 RGB photo with boxes, ages and intervals."""
    canvas = image.copy()
    thickness = max(2, round(max(image.shape[:2]) / 250))
    for face in faces:
        x, y, width, height = (round(value) for value in face.box)
        cv2.rectangle(canvas, (x, y), (x + width, y + height), BOX_COLOUR, thickness)
        low, high = face.interval(level)
        _write(canvas, f"{face.age:.0f} ({low:.0f}-{high:.0f})", x, y, max(0.4, width / 200))
    return canvas


def _write(canvas: Image, text: str, x: int, y: int, scale: float) -> None:
    """Write text on a bar above (x, y), or below where there is no room above, inside the photo."""
    weight = max(1, round(scale * 1.6))
    (width, height), baseline = cv2.getTextSize(text, FONT, scale, weight)
    pad = round(height * 0.4)
    x = int(np.clip(x, 0, max(0, canvas.shape[1] - width - 2 * pad)))
    bottom = max(y, height + baseline + pad)
    top = bottom - height - baseline - pad
    cv2.rectangle(canvas, (x, top), (x + width + 2 * pad, bottom), BOX_COLOUR, cv2.FILLED)
    origin = (x + pad, bottom - baseline)
    cv2.putText(canvas, text, origin, FONT, scale, TEXT_COLOUR, weight, cv2.LINE_AA)


def draw_note(image: Image, text: str) -> Image:
    """Return a copy of an H x W x 3 uint8 RGB photo with a line of text in its lower left corner.

    A text that is wider than the photo is made smaller, down to a limit, then cut.
    """
    canvas = image.copy()
    scale = max(0.4, canvas.shape[1] / 1100)
    (width, _), _ = cv2.getTextSize(text, FONT, scale, 1)
    scale = max(0.3, min(scale, scale * 0.95 * canvas.shape[1] / max(width, 1)))
    _write(canvas, text, 0, canvas.shape[0] - 1, scale)
    return canvas
