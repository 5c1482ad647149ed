"""Tracking: follow faces from frame to frame and average their age distributions over time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from halnet.ages import Floats, mean_and_stddev
from halnet.errors import ConfigError
from halnet.results import Face

HALF_LIFE = 1.0  # seconds: what was averaged before counts half after so long
MIN_OVERLAP = 0.3  # smallest overlap (IoU) of two boxes that show the same person
FORGET_AFTER = 1.0  # seconds: a face that was not seen for longer is treated as a new one

Box = tuple[float, float, float, float]  # x, y, width, height


@dataclass(eq=False)
class _Track:
    """A face that is followed."""

    number: int  # from 1
    face: Face
    probabilities: Floats  # 101, averaged over time
    seen: float  # seconds: time of the last frame that shows the face
    count: int = 1  # frames

    def add(self, face: Face, time: float, half_life: float) -> None:
        if half_life:
            self.count += 1
            weight = max(1 - 0.5 ** ((time - self.seen) / half_life), 1 / self.count)
            self.probabilities += weight * (face.probabilities - self.probabilities)
        self.face, self.seen = face, time


class Tracker:
    """Numbers and smooths the ages of the faces in a video.

    Faces in two frames are taken for the same person if their boxes overlap, and get the same
    number, `Face.track`. A face that was not seen for longer than `forget_after` seconds gets a new
    one.

    The first frames of a face count equally. Later, the average is exponential: what was averaged
    before counts half after `half_life` seconds. The result does not depend on the frame rate. With
    a `half_life` of 0, each frame keeps its own ages.

    Smoothing does not make the intervals narrower, because the errors in the frames of one face
    are alike.

    Raises ConfigError for a `half_life` below 0.
    """

    def __init__(self, half_life: float = HALF_LIFE, forget_after: float = FORGET_AFTER) -> None:
        if not 0 <= half_life < math.inf:
            raise ConfigError(
                f"smooth: expected a finite number of seconds from 0 up, found {half_life}"
            )
        self._half_life = half_life
        self._forget_after = forget_after
        self._count = 0  # tracks so far
        self._tracks: list[_Track] = []

    def update(self, faces: Sequence[Face], time: float) -> list[Face]:
        """Return the faces of a frame with track numbers and smoothed ages, in the same order.

        `time` is the time of the frame in seconds.
        """
        recent = [track for track in self._tracks if time - track.seen <= self._forget_after]
        found = _match(faces, recent)
        matched = list(found.values())
        for index, face in enumerate(faces):
            if index in found:
                found[index].add(face, time, self._half_life)
            else:
                self._count += 1
                probabilities = face.probabilities.astype(np.float64)
                found[index] = _Track(self._count, face, probabilities, time)
        self._tracks = [*found.values(), *(track for track in recent if track not in matched)]
        return [self._followed(face, found[index]) for index, face in enumerate(faces)]

    def _followed(self, face: Face, track: _Track) -> Face:
        if not self._half_life:
            return replace(face, track=track.number)
        age, stddev = mean_and_stddev(track.probabilities[None])
        return replace(
            face,
            age=float(age[0]),
            stddev=float(stddev[0]),
            probabilities=track.probabilities.astype(np.float32),
            track=track.number,
        )


def _match(faces: Sequence[Face], tracks: Sequence[_Track]) -> dict[int, _Track]:
    """Return the track of each face that has one, by the index of the face.

    Tracks that were seen last are matched first, so that a person who is away does not take the
    number of one who walks through the same place. Of these, the pairs with the largest overlap
    are matched first.
    """
    pairs = sorted(
        (
            (overlap(face.box, track.face.box), index, track)
            for index, face in enumerate(faces)
            for track in tracks
        ),
        key=lambda pair: (-pair[2].seen, -pair[0]),
    )
    found: dict[int, _Track] = {}
    for share, index, track in pairs:
        if share >= MIN_OVERLAP and index not in found and track not in found.values():
            found[index] = track
    return found


def overlap(first: Box, second: Box) -> float:
    """Return the intersection over union (IoU) of two boxes, from 0 to 1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(0.0, width) * max(0.0, height)
    union = first[2] * first[3] + second[2] * second[3] - common
    return common / union if union > 0 else 0.0
