"""Upright: finds faces whichever way up a photo is, for photos whose EXIF does not say it.

A detector that was trained on upright faces also finds many faces that are turned, but it states
wrong landmarks for them: it places eyes above a mouth whatever is there. Its score tells: of all
ways to turn a face, the upright one has the highest score. So a face that is certain and nearly
upright is taken as it is, which costs nothing. Only for a doubtful face, a small picture around it
is turned and detected again, a *look*.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.alignment import Matrix, for_resized, roll
from halnet.faces import DetectedFace, Detector, FaceDetector, shrink
from halnet.photos.images import Image

LOOK_SIDE = 112  # pixels: width and height of a look
CERTAIN = 0.915  # score from which a face that reads as upright is believed: 95 % of upright faces
SIGHT = 2.2  # longer sides of the box that a look shows
STEP = 30  # degrees between the looks
FIRST = (0, 30, 90, 180, 270, 330)  # degrees: the looks that decide whether a face is upright


class UprightDetector:
    """A detector for faces that are turned by any angle, made of one for faces that are upright.

    `find` detects faces in a whole photo, `look` in a look of 112 x 112 pixels; without it, a copy
    of `find` does so.
    """

    def __init__(self, find: FaceDetector | Detector, look: Detector | None = None) -> None:
        self._find = find
        self._look = look or (find.copy() if isinstance(find, FaceDetector) else find)

    def __call__(self, photo: Image) -> tuple[DetectedFace, ...]:
        """Return the faces of an H x W x 3 uint8 RGB photo, in pixels of the photo as it is given.

        The box of a face on its side has the width and the height that the face has there.
        """
        faces = list(self._find(photo))
        if faces:
            top = max(range(len(faces)), key=lambda index: faces[index].score)
            if _is_doubtful(faces[top]):
                faces[top] = self._look_around(photo, faces[top])
            quarters = round(roll(faces[top].landmarks) / 90) % 4
        else:
            quarters = self._search(photo)
        if quarters:
            turned = np.ascontiguousarray(np.rot90(photo, quarters))
            found = [self._look_around(turned, face) for face in self._find(turned)]
            if found:
                matrix = _quarter_matrix(photo, quarters)
                return tuple(_move_back(face, matrix) for face in found)
        return tuple(self._straighten(photo, face) if face.turned else face for face in faces)

    def _search(self, photo: Image) -> int:
        """Return how many quarter turns of a photo without a face show the best face."""
        found = ((n, self._find(np.ascontiguousarray(np.rot90(photo, n)))) for n in (1, 2, 3))
        scores = {n: max(face.score for face in faces) for n, faces in found if faces}
        return max(scores, key=scores.__getitem__, default=0)

    def _look_around(self, photo: Image, face: DetectedFace) -> DetectedFace:
        """Return the face with the landmarks of the best look, or unchanged if it is upright."""
        seen = dict(self._looks(photo, face, FIRST))
        if not seen:
            seen = dict(self._looks(photo, face, set(range(0, 360, STEP)) - set(FIRST)))
        if not seen:
            return face
        angle = max(seen, key=lambda angle: seen[angle].score)
        if angle == 0 and not face.turned and not seen[0].turned:
            return face
        beside = {(angle - STEP) % 360, (angle + STEP) % 360} - set(FIRST)
        seen |= self._looks(photo, face, beside)
        return self._straighten(photo, max(seen.values(), key=lambda face: face.score))

    def _straighten(self, photo: Image, face: DetectedFace) -> DetectedFace:
        """Return a face with the landmarks of a look in which it is upright: they are better."""
        straight = dict(self._looks(photo, face, [roll(face.landmarks)]))
        return next(iter(straight.values()), face)

    def _looks(
        self, photo: Image, face: DetectedFace, angles: Iterable[float]
    ) -> Iterator[tuple[float, DetectedFace]]:
        """Yield the angles in degrees at which a look shows the face, each with what it shows."""
        small = shrink(photo)  # a look is smaller still: a bilinear warp of a large photo is noisy
        for angle in angles:
            matrix = _look_matrix(face, angle)
            warp = for_resized(matrix, photo, small)
            look = np.asarray(cv2.warpAffine(small, warp, (LOOK_SIDE, LOOK_SIDE)), np.uint8)
            found = [other for other in self._look(look) if _is_central(other)]
            if found:
                yield angle, _move_back(max(found, key=lambda face: face.score), matrix)


def _is_doubtful(face: DetectedFace) -> bool:
    return face.score < CERTAIN or abs(roll(face.landmarks)) > 45


def _is_central(face: DetectedFace) -> bool:
    """Return whether a face is in the middle of a look and less than 45 degrees from upright."""
    x, y, width, height = face.box
    shift = np.array([x + width / 2, y + height / 2]) - LOOK_SIDE / 2
    return bool((np.abs(shift) < LOOK_SIDE / 4).all()) and abs(roll(face.landmarks)) < 45


def _look_matrix(face: DetectedFace, angle: float) -> Matrix:
    """Return the 2 x 3 matrix from the photo to a look, where `angle` is turned to upright."""
    x, y, width, height = face.box
    scale = LOOK_SIDE / (SIGHT * max(width, height))
    centre = (x + width / 2, y + height / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, angle, scale), np.float64)
    matrix[:, 2] += LOOK_SIDE / 2 - np.array(centre)
    return matrix


def _quarter_matrix(photo: Image, quarters: int) -> Matrix:
    """Return the 2 x 3 matrix from the pixels of a photo to those of np.rot90(photo, quarters)."""
    right, bottom = photo.shape[1] - 1, photo.shape[0] - 1
    matrices: dict[int, list[list[float]]] = {
        1: [[0, 1, 0], [-1, 0, right]],
        2: [[-1, 0, right], [0, -1, bottom]],
        3: [[0, -1, bottom], [1, 0, 0]],
    }
    return np.array(matrices[quarters], np.float64)


def _move_back(face: DetectedFace, matrix: Matrix) -> DetectedFace:
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
