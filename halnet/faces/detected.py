"""Detected faces: what a face detector returns, and what counts as a face of a photo."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.errors import ConfigError, DetectorError
from halnet.faces.alignment import MAX_ROLL, Landmarks, roll
from halnet.photos.images import Image

DETECTION_SIDE = 640  # pixels: a photo with a longer side is shrunk to this for detection
MIN_INSIDE = 0.5  # share of the area of a box: if less is inside the photo, it is no face
MAX_OUTSIDE = 1.0  # widths or heights of the photo: a landmark farther outside is a mistake


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face that a detector found in a photo. All coordinates are in pixels of the photo.

    `landmarks` are x and y of the left eye, right eye, nose tip, left mouth corner and right mouth
    corner. "Left" means the left side of the picture, which is the right side of the person.

    Lists and other number types are converted. Raises DetectorError if the box is not four finite
    numbers with a width and height above 0, if the landmarks are not 5 x 2 finite numbers or are
    all in one place, or if the score is not a number.
    """

    box: tuple[float, float, float, float]  # x and y of the top left corner, width, height
    landmarks: Landmarks  # 5 x 2 float32: x and y
    score: float  # confidence of the detection, from 0 to 1

    def __post_init__(self) -> None:
        box = _numbers("box", self.box, (4,), "four finite numbers (x, y, width, height)")
        if box[2] <= 0 or box[3] <= 0:
            raise DetectorError(
                "box of a detected face: expected x, y, width, height with width and height above "
                f"0, found {box.tolist()}"
            )
        places = "5 x 2 finite numbers (x and y of eyes, nose tip and mouth corners)"
        numbers = _numbers("landmarks", self.landmarks, (5, 2), places)
        with np.errstate(over="ignore"):
            landmarks = numbers.astype(np.float32)
        if not np.isfinite(landmarks).all():
            raise DetectorError(
                "landmarks of a detected face: expected numbers in the range of float32, found "
                f"{numbers.tolist()}"
            )
        if (landmarks == landmarks[0]).all():
            raise DetectorError(
                "landmarks of a detected face: expected five different places, found "
                f"{landmarks[0].tolist()} five times"
            )
        score = _numbers("score", self.score, (), "a finite number (confidence from 0 to 1)")
        object.__setattr__(self, "box", tuple(box.tolist()))
        object.__setattr__(self, "landmarks", landmarks)
        object.__setattr__(self, "score", float(score))

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return self.box[2] * self.box[3]

    @property
    def turned(self) -> int:
        """Degrees by which the face is turned clockwise, from -179 to 180; 0 if nearly upright."""
        angle = roll(self.landmarks)
        return round(angle) if abs(angle) > MAX_ROLL else 0

    def scaled(self, across: float, down: float) -> "DetectedFace":
        """Return the face in a photo that is so many times as wide and as high."""
        if across == down == 1:
            return self
        factors = np.array([across, down])
        x, y, width, height = (np.array(self.box).reshape(2, 2) * factors).ravel().tolist()
        return DetectedFace((x, y, width, height), self.landmarks * factors, self.score)

    def is_inside(self, width: int, height: int) -> bool:
        """Return whether a photo of this size can show the face, so that its crop is not empty.

        At least half of the box and the middle of the landmarks must be inside the photo. A
        landmark of a face that is cut off by the border may be outside, but by no more than the
        width or the height of the photo.
        """
        x, y, box_width, box_height = self.box
        across = min(x + box_width, width) - max(x, 0)
        down = min(y + box_height, height) - max(y, 0)
        if min(across, down) <= 0 or across * down < MIN_INSIDE * self.area:
            return False
        places = self.landmarks.astype(np.float64) / (width, height)  # 0 to 1 inside the photo
        distances = np.maximum(-places, places - 1)  # above 0: outside
        middle = places.mean(axis=0)
        is_central = bool(((middle >= 0) & (middle <= 1)).all())
        return is_central and bool(distances.max() <= MAX_OUTSIDE)


def _numbers(
    name: str, value: object, shape: tuple[int, ...], expected: str
) -> NDArray[np.float64]:
    """Return finite numbers of this shape; DetectorError if `value` is anything else."""
    message = f"{name} of a detected face: expected {expected}, found "
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DetectorError(f"{message}{type(value).__name__}") from error
    if numbers.shape != shape:
        raise DetectorError(f"{message}an array of shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise DetectorError(f"{message}{numbers.tolist()}")
    return numbers


class Detector(Protocol):
    """Any callable that finds the faces of a photo: a function, or an object such as FaceDetector.

    `Predictor(detector=...)` accepts it. If several threads share a predictor, they call its
    detector at the same time. A detector that shrinks photos by itself may have an attribute
    `detection_side`, the longer side in pixels to which it does so. It may then get a photo that
    was made smaller before, whose longer side has at least so many pixels.
    """

    def __call__(self, photo: Image, /) -> Sequence[DetectedFace]:
        """Return the faces of an H x W x 3 uint8 RGB photo in any order, or an empty sequence."""
        ...


def shrink(photo: Image) -> Image:
    """Return a photo whose longer side has at most DETECTION_SIDE pixels, as YuNet gets it."""
    height, width = photo.shape[:2]
    scale = min(1.0, DETECTION_SIDE / max(height, width))
    if scale == 1.0:
        return photo
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def largest_first(
    found: Iterable[DetectedFace], photo: Image, min_face: float = 0.0
) -> tuple[DetectedFace, ...]:
    """Return what counts as a face of the photo, the largest box first. It is so for all detectors.

    Left out are faces with a box narrower than `min_face` pixels, and those that are mostly outside
    of the photo (see `DetectedFace.is_inside`).

    Raises DetectorError if `found`, which a detector returned, is not a sequence of DetectedFace.
    """
    expected = "the face detector must return a sequence of halnet.DetectedFace values"
    try:
        faces = list(found)
    except TypeError as error:
        raise DetectorError(f"{expected}, but it returned {type(found).__name__}") from error
    for face in faces:
        if not isinstance(face, DetectedFace):
            raise DetectorError(f"{expected}, but one of them is {type(face).__name__}")
    height, width = photo.shape[:2]
    kept = [face for face in faces if face.box[2] >= min_face and face.is_inside(width, height)]
    return tuple(sorted(kept, key=lambda face: -face.area))


def check_min_face(min_face: float) -> float:
    """Return the width of the narrowest face. Raises ConfigError unless it is from 0 up."""
    if not 0 <= min_face < math.inf:
        raise ConfigError(
            f"min_face: expected a finite number of pixels from 0 up, found {min_face}"
        )
    return min_face
