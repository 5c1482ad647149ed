"""Upright: finds faces whichever way up a photo is, for photos whose EXIF does not say it.

A detector that was trained on upright faces also finds many faces that are turned, but it states
wrong landmarks for them: it places eyes above a mouth whatever is there. Its score tells: of all
ways to turn a face, the upright one has the highest score. So a face that is certain and nearly
upright is taken as it is, which costs nothing. Only a doubtful face is looked at from other angles.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from halnet.faces.alignment import Matrix, roll
from halnet.faces.detected import DETECTION_SIDE, DetectedFace, Detector, shrink
from halnet.faces.looks import look_at, move_back
from halnet.faces.yunet import FaceDetector
from halnet.photos.images import Image

CERTAIN = 0.915  # score from which a face that reads as upright is believed: 97 % of upright faces
CERTAIN_LOOK = 0.89  # score from which one look is enough to believe it
ANGLES = tuple(range(0, 360, 30))  # degrees of the looks at a face that is not believed


class UprightDetector:
    """A detector for faces that are turned by any angle, made of one for faces that are upright.

    `find` detects faces in a whole photo, `look` in small pictures around a face; without it,
    `find` does both.
    """

    detection_side = DETECTION_SIDE

    def __init__(self, find: Detector, look: Detector | None = None) -> None:
        self._find = find
        self._look = look or find

    def __call__(self, photo: Image) -> tuple[DetectedFace, ...]:
        """Return the faces of an H x W x 3 uint8 RGB photo, in pixels of the photo as it is given.

        The box of a face on its side has the width and the height that the face has there.
        """
        small = shrink(photo)
        faces = self._detect(small)
        if small is photo:
            return tuple(faces)
        factors = np.divide(photo.shape[1::-1], small.shape[1::-1])
        return tuple(face.scaled(*factors) for face in faces)

    def _detect(self, photo: Image) -> Sequence[DetectedFace]:
        """Return the faces of a photo that YuNet does not shrink."""
        faces = list(self._find(photo))
        top = max(faces, key=lambda face: face.score, default=None)
        if top is None:
            quarters = self._search(photo)
        elif self._is_upright(photo, top):
            quarters = 0
        else:
            best = self._look_around(photo, top)
            faces[faces.index(top)] = best
            quarters = round(roll(best.landmarks) / 90) % 4
        if quarters:
            turned = np.ascontiguousarray(np.rot90(photo, quarters))
            found = [self._look_around(turned, face) for face in self._find(turned)]
            if found:
                matrix = _quarter_matrix(photo, quarters)
                return [move_back(face, matrix) for face in found]
        return [self._straighten(photo, face) if face.turned else face for face in faces]

    def _search(self, photo: Image) -> int:
        """Return how many quarter turns of a photo without a face show the best face."""
        found = ((n, self._find(np.ascontiguousarray(np.rot90(photo, n)))) for n in (1, 2, 3))
        scores = {n: max(face.score for face in faces) for n, faces in found if faces}
        return max(scores, key=scores.__getitem__, default=0)

    def _is_upright(self, photo: Image, face: DetectedFace) -> bool:
        """Return whether a face that reads as upright can be believed, with one look at most."""
        if abs(roll(face.landmarks)) > 45:
            return False
        if face.score >= CERTAIN:
            return True
        seen = look_at(self._look, photo, face, (0,)).get(0)
        return bool(seen and seen.score >= CERTAIN_LOOK and not (seen.turned or face.turned))

    def _look_around(self, photo: Image, face: DetectedFace) -> DetectedFace:
        """Return the face with the landmarks of the best look, or unchanged if it is upright."""
        seen = look_at(self._look, photo, face, ANGLES)
        angle = max(seen, key=lambda angle: seen[angle].score, default=None)
        if angle is None or (angle == 0 and not (face.turned or seen[0].turned)):
            return face
        return self._straighten(photo, seen[angle])

    def _straighten(self, photo: Image, face: DetectedFace) -> DetectedFace:
        """Return a face with the landmarks of a look in which it is upright: they are better."""
        angle = roll(face.landmarks)
        return look_at(self._look, photo, face, [angle]).get(angle, face)


def _quarter_matrix(photo: Image, quarters: int) -> Matrix:
    """Return the 2 x 3 matrix from the pixels of a photo to those of np.rot90(photo, quarters)."""
    right, bottom = photo.shape[1] - 1, photo.shape[0] - 1
    matrices: dict[int, list[list[float]]] = {
        1: [[0, 1, 0], [-1, 0, right]],
        2: [[-1, 0, right], [0, -1, bottom]],
        3: [[0, -1, bottom], [1, 0, 0]],
    }
    return np.array(matrices[quarters], np.float64)


def open_detector(model: str | Path | None = None, threads: int | None = None) -> UprightDetector:
    """Return the detector that halnet uses, made of YuNet.

    `model` and `threads` are those of `FaceDetector`. Raises what it raises.
    """
    return UprightDetector(FaceDetector(model, threads=threads))
