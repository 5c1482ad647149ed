"""Batches: photos and videos through a predictor; the good done, the bad listed."""

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from halnet.drawing import draw_faces
from halnet.errors import ConfigError, ImageError
from halnet.files import replacing
from halnet.images import MAX_BYTES, SUFFIXES, Image, encode_image, load_image
from halnet.predictor import Predictor
from halnet.results import Face
from halnet.video import Video, display_name, is_live

STDIN = Path("-")  # a photo whose bytes come on standard input
DRAWN_RATE = 25.0  # frames a second of a copy, where the video does not state its own


@dataclass(frozen=True)
class FaceSelection:
    """Which faces are wanted, and how they are shown."""

    largest: bool = False  # only the largest of a photo
    level: float = 0.9  # of the intervals


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """What became of one photo, or of one frame of a video."""

    photo: Path  # or what names the video
    faces: list[Face]  # largest first; none where there is no face, or an error
    error: str | None = None  # why it could not be read
    time: float | None = None  # seconds into the video; None: a photo

    def to_dict(self, level: float) -> dict[str, Any]:
        """Return JSON-ready values, intervals at `level`."""
        error = {} if self.error is None else {"error": self.error}
        time = {} if self.time is None else {"time": round(self.time, 3)}
        faces = [face.to_dict(level) for face in self.faces]
        return {"photo": str(self.photo), **time, **error, "faces": faces}


def find_photos(paths: Iterable[Path]) -> list[Path]:
    """Return files as they are, and the images of folders and patterns by name.

    A folder stands for the images in it and in its subfolders, a pattern ("*", "**", "?", "[]") for
    what it matches, unless a file is named so. Raises ConfigError for either without any.
    """
    photos: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside: Iterable[Path] = path.rglob("*")
            place = "in this folder"
        elif glob.has_magic(str(path)) and not path.exists():
            inside, place = map(Path, glob.iglob(str(path), recursive=True)), "match this pattern"
        else:
            photos.append(path)
            continue
        found = sorted(p for p in inside if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise ConfigError(f"{path}: no photos {place} ({', '.join(sorted(SUFFIXES))})")
        photos += found
    return photos


def predict_photos(
    predictor: Predictor,
    photos: Sequence[Path],
    draw: Path | None = None,
    selection: FaceSelection = FaceSelection(),
) -> Iterator[PhotoResult]:
    """Yield the result of each photo in turn; with `draw`, write copies with boxes and ages there.

    A copy lies where its photo lies below the photos' common folder. Raises ConfigError before any
    work where a copy would take the place of a photo or of another copy.
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
    """Yield the result of each frame; with `copy`, write an MP4 video with boxes and ages there.

    A video that cannot be read, or a live one that stops, ends with a result that says so.
    """
    name = Path(video.name)
    with ExitStack() as stack:
        write = None
        try:
            for frame in video:
                faces = _predict(predictor, frame.image, selection)
                if copy is not None:
                    if write is None:
                        drawn = _drawing(copy, video.rate or DRAWN_RATE, frame.image)
                        write = stack.enter_context(drawn)
                    write(draw_faces(frame.image, faces, selection.level))
                yield PhotoResult(name, faces, time=frame.time)
        except ImageError as error:
            yield PhotoResult(name, [], str(error))


def plan_videos(videos: Sequence[str | Path], folder: Path) -> dict[str | Path, Path]:
    """Return where the copies of video files go: their names in a folder, as MP4.

    Raises ConfigError for a live source, and where a copy would take the place of another or of a
    video.
    """
    taken = {Path(video).resolve() for video in videos}
    copies: dict[str | Path, Path] = {}
    for video in videos:
        if is_live(video):
            raise ConfigError(f"{display_name(video)}: copies are drawn of photos and video files")
        copy = folder / Path(video).name
        if copy.suffix.lower() != ".mp4":
            copy = copy.with_name(copy.name + ".mp4")
        copies[video] = _claim(copy, f"{video} would be written over another video", taken)
    return copies


def _predict(predictor: Predictor, image: Image, selection: FaceSelection) -> list[Face]:
    found = predictor.detect(image)
    return predictor.predict_faces(image, found[:1] if selection.largest else found)


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def _plan_copies(photos: Sequence[Path], folder: Path) -> dict[Path, Path]:
    common = Path(os.path.commonpath([photo.absolute().parent for photo in photos]))
    taken = {photo.resolve() for photo in photos}
    copies = {}
    for photo in photos:
        if photo in copies:
            continue
        name = Path("stdin.jpg") if photo == STDIN else photo.absolute().relative_to(common)
        copy = folder / name
        if copy.suffix.lower() not in (".jpg", ".jpeg"):
            copy = copy.with_name(copy.name + ".jpg")
        copies[photo] = _claim(copy, f"{photo} would be written over another photo", taken)
    return copies


def _claim(copy: Path, clash: str, taken: set[Path]) -> Path:
    """Return the place of a copy and note it as taken; ConfigError where it was."""
    place = copy.resolve()
    if place in taken:
        raise ConfigError(f"{copy}: the copy of {clash}; name another folder for the copies")
    taken.add(place)
    return copy


@contextmanager
def _drawing(path: Path, rate: float, like: Image) -> Iterator[Callable[[Image], object]]:
    """Yield a function that appends an H x W x 3 uint8 RGB frame, all of one size, to an MP4."""
    height, width = like.shape[:2]
    with replacing(path) as temporary:
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(temporary), code, rate, (width, height))
        if not writer.isOpened():
            raise ConfigError(f"{path}: OpenCV cannot write an MP4 video here")
        try:
            yield lambda image: writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()
