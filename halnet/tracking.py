"""Tracking: faces followed from frame to frame, their age distributions averaged over time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from halnet.ages import Floats, summarise
from halnet.results import Face

MIN_OVERLAP = 0.3  # intersection over union of the boxes of one person in two frames
FORGET = 1.0  # seconds after which a face that is not seen is another one


@dataclass
class _Track:
    face: Face
    probabilities: Floats  # 101, averaged
    seen: float  # seconds
    count: int = 1


class Tracker:
    """Steadies the ages of a video: what a face was said to be is averaged with what it is now.

    The average is that of all frames at first, then an exponential one whose weight halves in
    `half_life` seconds, so that it does not depend on the frame rate. Faces of two frames are one
    person where their boxes overlap. An interval is that of a single photo: frames of one face err
    alike, so averaging them does not make it narrower.
    """

    def __init__(self, half_life: float = 1.0) -> None:
        self._half_life = half_life
        self._tracks: list[_Track] = []

    def update(self, faces: Sequence[Face], time: float) -> list[Face]:
        """Return the faces of a frame, in their order, with steadied ages; `time` in seconds."""
        tracks = [track for track in self._tracks if time - track.seen <= FORGET]
        pairs = sorted(
            (
                (overlap(face.box, track.face.box), index, track)
                for index, face in enumerate(faces)
                for track in tracks
            ),
            key=lambda pair: -pair[0],
        )
        found: dict[int, _Track] = {}
        taken: list[_Track] = []
        for share, index, track in pairs:
            if share >= MIN_OVERLAP and index not in found and track not in taken:
                found[index] = track
                taken.append(track)
        for index, face in enumerate(faces):
            if index in found:
                self._add(found[index], face, time)
            else:
                found[index] = _Track(face, face.probabilities.astype(np.float64), time)
        self._tracks = [*found.values(), *(track for track in tracks if track not in taken)]
        return [_steadied(face, found[index]) for index, face in enumerate(faces)]

    def _add(self, track: _Track, face: Face, time: float) -> None:
        track.count += 1
        weight = max(1 - 0.5 ** ((time - track.seen) / self._half_life), 1 / track.count)
        track.probabilities += weight * (face.probabilities - track.probabilities)
        track.face, track.seen = face, time


def _steadied(face: Face, track: _Track) -> Face:
    age, stddev = summarise(track.probabilities[None])
    probabilities = track.probabilities.astype(np.float32)
    return replace(face, age=float(age[0]), stddev=float(stddev[0]), probabilities=probabilities)


def overlap(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> float:
    """Return the intersection over union of two boxes of x, y, width and height."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    common = max(0.0, width) * max(0.0, height)
    union = first[2] * first[3] + second[2] * second[3] - common
    return common / union if union > 0 else 0.0
