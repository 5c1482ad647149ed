"""Batches: the faces and ages of many photos, or of the frames of a video.

A photo that cannot be read gives a result with an error, and the photos after it are processed.
"""

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from halnet.ages import LEVEL
from halnet.drawing import draw_faces
from halnet.errors import ConfigError, ImageError
from halnet.files import replacing
from halnet.images import MAX_BYTES, SUFFIXES, Image, encode_image, load_image
from halnet.predictor import Predictor
from halnet.results import Face
from halnet.video import Video, display_name, is_live

STDIN = Path("-")  # names the photo whose bytes are read from standard input
DRAWN_RATE = 25.0  # frames per second of a copy if the video does not state its rate


@dataclass(frozen=True)
class FaceSelection:
    """Which faces of a photo are predicted, and the level of their intervals."""

    largest: bool = False  # True: only the largest face of each photo
    level: float = LEVEL  # interval coverage, between 0 and 1


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """The result of one photo, or of one frame of a video."""

    photo: Path  # path of the photo, or the display name of the video
    faces: list[Face]  # largest first; empty for a photo without faces or with an error
    error: str | None = None  # why the photo could not be read
    time: float | None = None  # seconds since the start of the video; None for a photo

    def to_dict(self, level: float) -> dict[str, Any]:
        """Return JSON-ready values with intervals at `level`."""
        error = {} if self.error is None else {"error": self.error}
        time = {} if self.time is None else {"time": round(self.time, 3)}
        faces = [face.to_dict(level) for face in self.faces]
        return {"photo": str(self.photo), **time, **error, "faces": faces}


def find_photos(paths: Iterable[Path]) -> list[Path]:
    """Return the photos that files, folders and patterns stand for.

    A file stands for itself. A folder stands for all images in it and in its subfolders, sorted by
    name. A pattern with "*", "**", "?" or "[...]" stands for the images that match it, unless a
    file has this very name. Raises ConfigError for a folder or pattern without images.
    """
    photos: list[Path] = []
    for path in paths:
        if path.is_dir():
            candidates: Iterable[Path] = path.rglob("*")
            problem = "there are no photos in this folder"
        elif glob.has_magic(str(path)) and not path.exists():
            candidates = map(Path, glob.iglob(str(path), recursive=True))
            problem = "no photos match this pattern"
        else:
            photos.append(path)
            continue
        found = sorted(p for p in candidates if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise ConfigError(
                f"{path}: {problem}; the names of photos end in {', '.join(sorted(SUFFIXES))}"
            )
        photos += found
    return photos


def predict_photos(
    predictor: Predictor,
    photos: Sequence[Path],
    draw: Path | None = None,
    selection: FaceSelection = FaceSelection(),
) -> Iterator[PhotoResult]:
    """Yield the result of each photo, one after the other.

    If `draw` is a folder, a copy of each photo with boxes and ages is written there, in the same
    subfolders in which the photos lie below their common folder. Raises ConfigError before any work
    if a copy would overwrite a photo or another copy.
    """
    copies = _plan_copies(photos, draw) if draw else {}
    for photo in photos:
        try:
            image = load_image(_read_stdin() if photo == STDIN else photo)
        except ImageError as error:
            yield PhotoResult(photo, [], str(error))
            continue
        faces = _predict(predictor, image, selection)
        if photo in copies:
            data = encode_image(draw_faces(image, faces, selection.level), ".jpg")
            with replacing(copies[photo]) as temporary:
                temporary.write_bytes(data)
        yield PhotoResult(photo, faces)


def predict_video(
    predictor: Predictor,
    video: Video,
    copy: Path | None = None,
    selection: FaceSelection = FaceSelection(),
) -> Iterator[PhotoResult]:
    """Yield the result of each frame of a video, one after the other.

    If `copy` is a path, an MP4 video with boxes and ages is written there. If the video cannot be
    read, or if a live source stops, the last result has an error.
    """
    name = Path(video.name)
    with ExitStack() as stack:
        write: Callable[[Image], object] | None = None
        try:
            for frame in video:
                faces = _predict(predictor, frame.image, selection)
                if copy is not None:
                    if write is None:
                        writer = _mp4_writer(copy, video.rate or DRAWN_RATE, frame.image)
                        write = stack.enter_context(writer)
                    write(draw_faces(frame.image, faces, selection.level))
                yield PhotoResult(name, faces, time=frame.time)
        except ImageError as error:
            yield PhotoResult(name, [], str(error))


def plan_videos(videos: Sequence[str | Path], folder: Path) -> dict[str | Path, Path]:
    """Return the path of the copy of each video: its file name in `folder`, as MP4.

    Raises ConfigError for a live source, and if a copy would overwrite a video or another copy.
    """
    reserved = {Path(video).resolve() for video in videos}
    copies: dict[str | Path, Path] = {}
    for video in videos:
        if is_live(video):
            raise ConfigError(
                f"{display_name(video)}: a copy can be drawn of photos and video files, but not of "
                "a live source; leave out --draw"
            )
        copy = folder / Path(video).name
        if copy.suffix.lower() != ".mp4":
            copy = copy.with_name(copy.name + ".mp4")
        copies[video] = _reserve(copy, f"{video} would overwrite another video", reserved)
    return copies


def _predict(predictor: Predictor, image: Image, selection: FaceSelection) -> list[Face]:
    found = predictor.detect(image)
    return predictor.predict_faces(image, found[:1] if selection.largest else found)


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def _plan_copies(photos: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Return the path of the copy of each photo; ConfigError if one would overwrite a file."""
    common = Path(os.path.commonpath([photo.absolute().parent for photo in photos]))
    reserved = {photo.resolve() for photo in photos}
    copies: dict[Path, Path] = {}
    for photo in photos:
        if photo in copies:
            continue
        name = Path("stdin.jpg") if photo == STDIN else photo.absolute().relative_to(common)
        copy = folder / name
        if copy.suffix.lower() not in (".jpg", ".jpeg"):
            copy = copy.with_name(copy.name + ".jpg")
        copies[photo] = _reserve(copy, f"{photo} would overwrite another photo", reserved)
    return copies


def _reserve(copy: Path, clash: str, reserved: set[Path]) -> Path:
    """Add the path of a copy to those that are reserved; ConfigError if it was one of them."""
    resolved = copy.resolve()
    if resolved in reserved:
        raise ConfigError(f"{copy}: the copy of {clash}; name another folder for the copies")
    reserved.add(resolved)
    return copy


@contextmanager
def _mp4_writer(path: Path, rate: float, first: Image) -> Iterator[Callable[[Image], object]]:
    """Yield a function that appends a frame to an MP4 file with `rate` frames per second.

    The frames are H x W x 3 uint8 RGB, all of the size of the `first` one.
    """
    height, width = first.shape[:2]
    with replacing(path) as temporary:
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(temporary), code, rate, (width, height))
        if not writer.isOpened():
            raise ConfigError(f"{path}: OpenCV cannot write an MP4 video here; leave out --draw")
        try:
            yield lambda image: writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()
