"""Answers: what the process of a peer writes, one line of JSON for each photo.

The first line describes the peer: `{"version": "2.0.0", "engine": "onnxruntime 1.30.0"}`. Each
other line answers for one photo, by the path that the process has read:

    {"photo": "a.jpg", "seconds": 0.02, "faces": [{"age": 31.0, "box": [10, 12, 80, 96]}]}
    {"photo": "b.jpg", "error": "the reason why the peer has no answer"}

Ages are in years, and boxes are x, y, width and height in pixels of the upright photo.
"""

import math
from dataclasses import dataclass
from typing import Any

from halnet.errors import HalnetError
from halnet.json_text import parse_json

Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the upright photo
MAX_SHOWN = 80  # characters of a wrong line in an error message


class PeerError(HalnetError):
    """A peer is not installed, has crashed, takes too long, or does not write answers."""


@dataclass(frozen=True)
class About:
    """What a peer states about itself."""

    version: str
    engine: str  # what it runs on, in words


@dataclass(frozen=True)
class FoundFace:
    """A face that a peer has found."""

    age: float  # years
    box: Box


@dataclass(frozen=True)
class Answer:
    """The answer of a peer for one photo."""

    faces: tuple[FoundFace, ...] = ()
    seconds: float | None = None  # from the bytes of the file to the ages; None: an error
    error: str = ""  # why there is no answer; empty: there is one


def parse_about(line: bytes) -> About:
    """Return what the first line of a peer states. Raises PeerError if it is something else."""
    try:
        value = parse_json(line)
        return About(str(value["version"]), str(value["engine"]))
    except (ValueError, TypeError, KeyError) as error:
        raise _wrong(line, "a line of JSON with its version and engine") from error


def parse_answer(line: bytes, photo: str, passed: float) -> Answer:
    """Return the answer in a line for a photo that the peer got `passed` seconds ago.

    Raises PeerError if the line is something else, or states more seconds than have passed.
    """
    try:
        value = parse_json(line)
        if value["photo"] != photo:
            raise ValueError("another photo")
        if "error" in value:
            return Answer(error=str(value["error"]))
        faces, seconds = tuple(map(_face, value["faces"])), _number(value["seconds"])
    except (ValueError, TypeError, KeyError) as error:
        raise _wrong(line, f"a line of JSON with its faces in {photo}") from error
    if not 0 <= seconds <= passed:
        raise _wrong(line, f"at most {passed:.3f} seconds, which have passed")
    return Answer(faces, seconds)


def _face(value: Any) -> FoundFace:
    x, y, width, height = map(_number, value["box"])
    return FoundFace(_number(value["age"]), (x, y, width, height))


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("no finite number")
    return float(value)


def _wrong(line: bytes, wanted: str) -> PeerError:
    text = line.decode(errors="replace").strip()
    shown = text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."
    return PeerError(f"expected {wanted}, found {shown!r}")
