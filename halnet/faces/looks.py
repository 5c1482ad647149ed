"""Looks: a face seen from several angles, in small pictures that are detected at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.faces.alignment import Matrix, roll
from halnet.faces.detected import DetectedFace, Detector
from halnet.photos.images import Image

LOOK_SIDE = 128  # pixels: width and height of a look
SIGHT = 2.6  # longer sides of the box that a look shows
COLUMNS = 4  # looks beside each other in the picture that is detected


@dataclass(frozen=True, eq=False)
class _Look:
    """The place of a look in the picture that shows all of them."""

    left: int  # pixels of the picture
    top: int
    matrix: Matrix  # 2 x 3, from pixels of the photo to those of the look

    def shows(self, face: DetectedFace) -> bool:
        """Return whether a face is in the middle, and less than 45 degrees from upright."""
        x, y, width, height = face.box
        middle = np.array([x + width / 2 - self.left, y + height / 2 - self.top])
        is_central = (np.abs(middle - LOOK_SIDE / 2) < LOOK_SIDE / 4).all()
        return bool(is_central) and abs(roll(face.landmarks)) < 45

    def move_back(self, face: DetectedFace) -> DetectedFace:
        """Return a face of the picture in pixels of the photo."""
        matrix = self.matrix.copy()
        matrix[:, 2] += self.left, self.top
        return move_back(face, matrix)


def look_at(
    detect: Detector, photo: Image, face: DetectedFace, angles: Sequence[float]
) -> dict[float, DetectedFace]:
    """Return what looks at a face show, by their angles in degrees, where they show a face.

    At each angle, a face that is turned clockwise by so much is upright in the look. The faces are
    in pixels of `photo`, H x W x 3 uint8 RGB. A photo should not be much larger than its looks, as
    the warp would be noisy.
    """
    rows, columns = -(-len(angles) // COLUMNS), min(len(angles), COLUMNS)
    picture = np.zeros((rows * LOOK_SIDE, columns * LOOK_SIDE, 3), np.uint8)
    looks = {}
    for index, angle in enumerate(angles):
        row, column = divmod(index, COLUMNS)
        look = _Look(column * LOOK_SIDE, row * LOOK_SIDE, _look_matrix(face, angle))
        shown = cv2.warpAffine(photo, look.matrix, (LOOK_SIDE, LOOK_SIDE))
        picture[look.top :, look.left :][:LOOK_SIDE, :LOOK_SIDE] = shown
        looks[angle] = look
    by_score = sorted(detect(picture), key=lambda other: -other.score)
    best = {}
    for angle, look in looks.items():
        for other in islice(filter(look.shows, by_score), 1):
            best[angle] = look.move_back(other)
    return best


def _look_matrix(face: DetectedFace, angle: float) -> Matrix:
    """Return the 2 x 3 matrix from the photo to a look, where `angle` is turned to upright."""
    x, y, width, height = face.box
    scale = LOOK_SIDE / (SIGHT * max(width, height))
    centre = (x + width / 2, y + height / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, angle, scale), np.float64)
    matrix[:, 2] += LOOK_SIDE / 2 - np.array(centre)
    return matrix


def move_back(face: DetectedFace, matrix: Matrix) -> DetectedFace:
    """Return a face in pixels of the photo, which `matrix` maps to where the face was found."""
    back: NDArray[np.float64] = np.asarray(cv2.invertAffineTransform(matrix), np.float64)
    x, y, width, height = face.box
    centre = back[:, :2] @ (x + width / 2, y + height / 2) + back[:, 2]
    scale = np.hypot(back[0, 0], back[1, 0])
    size = np.array([width, height]) * scale
    if abs(back[1, 0]) > abs(back[0, 0]):  # nearer to a quarter turn than to none
        size = size[::-1]
    return DetectedFace(
        box=(*(centre - size / 2).tolist(), *size.tolist()),
        landmarks=(face.landmarks @ back[:, :2].T + back[:, 2]).astype(np.float32),
        score=face.score,
    )
