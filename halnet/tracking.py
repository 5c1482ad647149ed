"""Tracking: follow faces from frame to frame and average their age distributions over time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from halnet.ages import Floats, mean_and_stddev
from halnet.results import Face

MIN_OVERLAP = 0.3  # smallest overlap (IoU) of two boxes that show the same person
FORGET_AFTER = 1.0  # seconds: a face that was not seen for longer is treated as a new one

Box = tuple[float, float, float, float]  # x, y, width, height


@dataclass(eq=False)
class _Track:
    """A face that is followed."""

    face: Face
    probabilities: Floats  # 101, averaged over time
    seen: float  # seconds: time of the last frame that shows the face
    count: int = 1  # frames

    def add(self, face: Face, time: float, half_life: float) -> None:
        self.count += 1
        weight = max(1 - 0.5 ** ((time - self.seen) / half_life), 1 / self.count)
        self.probabilities += weight * (face.probabilities - self.probabilities)
        self.face, self.seen = face, time


class Tracker:
    """Smooths the ages of the faces in a video.

    The first frames of a face count equally. Later, the average is exponential: what was averaged
    before counts half after `half_life` seconds. The result does not depend on the frame rate.
    Faces in two frames are taken for the same person if their boxes overlap.

    Smoothing does not make the intervals narrower, because the errors in the frames of one face
    are alike.
    """

    def __init__(self, half_life: float = 1.0) -> None:
        self._half_life = half_life
        self._tracks: list[_Track] = []

    def update(self, faces: Sequence[Face], time: float) -> list[Face]:
        """Return the faces of a frame with smoothed ages, in the same order.

        `time` is the time of the frame in seconds.
        """
        recent = [track for track in self._tracks if time - track.seen <= FORGET_AFTER]
        found = _match(faces, recent)
        matched = list(found.values())
        for index, face in enumerate(faces):
            if index in found:
                found[index].add(face, time, self._half_life)
            else:
                found[index] = _Track(face, face.probabilities.astype(np.float64), time)
        self._tracks = [*found.values(), *(track for track in recent if track not in matched)]
        return [_smoothed(face, found[index]) for index, face in enumerate(faces)]


def _match(faces: Sequence[Face], tracks: Sequence[_Track]) -> dict[int, _Track]:
    """Return the track of each face that has one, by the index of the face.

    The pairs with the largest overlap are matched first.
    """
    pairs = sorted(
        (
            (overlap(face.box, track.face.box), index, track)
            for index, face in enumerate(faces)
            for track in tracks
        ),
        key=lambda pair: -pair[0],
    )
    found: dict[int, _Track] = {}
    for share, index, track in pairs:
        if share >= MIN_OVERLAP and index not in found and track not in found.values():
            found[index] = track
    return found


def _smoothed(face: Face, track: _Track) -> Face:
    age, stddev = mean_and_stddev(track.probabilities[None])
    probabilities = track.probabilities.astype(np.float32)
    return replace(face, age=float(age[0]), stddev=float(stddev[0]), probabilities=probabilities)


def overlap(first: Box, second: Box) -> float:
    """Return the intersection over union (IoU) of two boxes, from 0 to 1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(0.0, width) * max(0.0, height)
    union = first[2] * first[3] + second[2] * second[3] - common
    return common / union if union > 0 else 0.0
