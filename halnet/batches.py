"""Batches: the faces and ages of many photos, or of the frames of a video.

A photo that cannot be read gives a result with an error, and the photos after it are processed.
"""

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from halnet.ages import AGE_MAX, AGE_MIN, LEVEL
from halnet.drawing import draw_faces
from halnet.errors import ConfigError, ImageError
from halnet.faces.photo_view import PhotoView
from halnet.files import replacing
from halnet.parallel import map_in_order
from halnet.photos.images import MAX_BYTES, Image, encode_image
from halnet.photos.photo_files import read_stdin
from halnet.predictor import Predictor
from halnet.results import FORMAT, Face
from halnet.tracking import Tracker
from halnet.videos.live_video import LiveVideo
from halnet.videos.video import Frame, Video, display_name, is_live
from halnet.videos.video_file import VideoFile, mp4_writer

STDIN = Path("-")  # names the photo whose bytes are read from standard input


@dataclass(frozen=True)
class FaceSelection:
    """Which faces of a photo are predicted, and what is stated of each.

    Raises ConfigError for an age outside of 0 to 100 years.
    """

    largest: bool = False  # True: only the largest face of each photo
    level: float = LEVEL  # interval coverage, between 0 and 1
    # Ages in years; the probability of being as old or older is given for each. Rising, each once.
    at_least: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for years in self.at_least:
            if not AGE_MIN <= years <= AGE_MAX:
                raise ConfigError(
                    f"at least {years}: expected an age from {AGE_MIN} to {AGE_MAX} years"
                )
        object.__setattr__(self, "at_least", tuple(sorted(set(self.at_least))))


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """The result of one photo, or of one frame of a video."""

    photo: str  # path of the photo, or the display name of the video
    faces: list[Face]  # largest first; empty for a photo without faces or with an error
    error: str | None = None  # why the photo could not be read
    time: float | None = None  # seconds since the start of the video; None for a photo

    def to_dict(self, level: float, at_least: Sequence[int] = ()) -> dict[str, Any]:
        """Return JSON-ready values with intervals at `level`.

        With ages `at_least`, each face has the probabilities of being as old or older, by age.
        """
        error = {} if self.error is None else {"error": self.error}
        time = {} if self.time is None else {"time": round(self.time, 3)}
        faces = [
            {**face.to_dict(level), **({"at_least": chances(face, at_least)} if at_least else {})}
            for face in self.faces
        ]
        return {"format": FORMAT, "photo": self.photo, **time, **error, "faces": faces}


def chances(face: Face, at_least: Sequence[int]) -> dict[str, float]:
    """Return the calibrated probability that a person has an age or is older, for several ages.

    The ages are in years, and are the keys. The probabilities are rounded to four digits.
    """
    return {str(years): round(face.probability(at_least=years), 4) for years in at_least}


def predict_photos(
    predictor: Predictor,
    photos: Sequence[Path],
    draw: Path | None = None,
    selection: FaceSelection = FaceSelection(),
    workers: int = 1,
) -> Iterator[PhotoResult]:
    """Yield the result of each photo, in order, computed by `workers` threads.

    If `draw` is a folder, a copy of each photo with boxes and ages is written there, in the same
    subfolders in which the photos lie below their common folder. Raises ConfigError before any work
    if a copy would overwrite a photo or another copy.
    """
    copies = _plan_copies(photos, draw) if draw and photos else {}
    predict = partial(_predict_photo, predictor, copies, selection)
    if workers == 1:
        yield from map(predict, photos)
    else:
        yield from map_in_order(ThreadPoolExecutor(workers), predict, photos, 2 * workers)


def _predict_photo(
    predictor: Predictor, copies: Mapping[Path, Path], selection: FaceSelection, photo: Path
) -> PhotoResult:
    try:
        if photo == STDIN:
            view = PhotoView(read_stdin(MAX_BYTES + 1), name="standard input")
        else:
            view = PhotoView(photo)
        faces = _predict(predictor, view, selection)
    except ImageError as error:
        return PhotoResult(str(photo), [], str(error))
    if photo in copies:
        data = encode_image(draw_faces(view.image(), faces, selection.level), ".jpg")
        with replacing(copies[photo]) as temporary:
            temporary.write_bytes(data)
    return PhotoResult(str(photo), faces)


def predict_bytes(
    predictor: Predictor, data: bytes, name: str, selection: FaceSelection
) -> PhotoResult:
    """Return the result of a photo by the bytes of its file. `name` is its name in the result."""
    try:
        return PhotoResult(name, _predict(predictor, PhotoView(data, name), selection))
    except ImageError as error:
        return PhotoResult(name, [], str(error))


def open_video(source: str | Path, every: float = 0.0) -> Video:
    """Return the video that a name stands for; see `VideoFile` and `LiveVideo`.

    It gives every frame, or one frame every `every` seconds. Raises ImageError if it cannot be
    opened.
    """
    return LiveVideo(source, every) if is_live(source) else VideoFile(source, every)


def predict_video(
    predictor: Predictor,
    video: Video,
    copy: Path | None = None,
    selection: FaceSelection = FaceSelection(),
    workers: int = 1,
    tracker: Tracker | None = None,
) -> Iterator[PhotoResult]:
    """Yield the result of each frame of a video, in order.

    The ages of a face are averaged over the frames before, as `tracker` does it; by default, a new
    `Tracker`. `workers` threads compute the frames of a file. The newest frame of a live source is
    computed alone.

    If `copy` is a path, an MP4 video with boxes and ages is written there, whose frames have the
    same times. If a part of the video cannot be read, or if a live source stops, the last result
    has an error.
    """
    tracker = Tracker() if tracker is None else tracker
    with ExitStack() as stack:
        write: Callable[[Image, float], None] | None = None
        frames = _predict_frames(predictor, video, 1 if video.live else workers)
        stack.callback(frames.close)
        try:
            for frame, found in frames:
                faces = tracker.update(found, frame.time)  # all of them, so that all are known
                faces = faces[:1] if selection.largest else faces
                if copy is not None:
                    if write is None:
                        write = stack.enter_context(mp4_writer(copy, frame.image))
                    write(draw_faces(frame.image, faces, selection.level), frame.time)
                yield PhotoResult(video.name, faces, time=frame.time)
        except ImageError as error:
            yield PhotoResult(video.name, [], str(error))


def _predict_frames(
    predictor: Predictor, video: Video, workers: int
) -> Generator[tuple[Frame, list[Face]]]:
    """Yield the frames of a video with all of their faces, the largest first."""

    def predict(frame: Frame) -> tuple[Frame, list[Face]]:
        return frame, predictor.predict_faces(frame.image, predictor.detect(frame.image))

    if workers == 1:
        yield from map(predict, video)
    else:
        yield from map_in_order(ThreadPoolExecutor(workers), predict, video, 2 * workers)


def plan_videos(videos: Sequence[str | Path], folder: Path) -> dict[str | Path, Path]:
    """Return the path of the copy of each video: its file name in `folder`, as MP4.

    Raises ConfigError for a live source, and if a copy would overwrite a video or another copy.
    """
    reserved = {_real(video) for video in videos}
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


def _predict(
    predictor: Predictor, image: Image | PhotoView, selection: FaceSelection
) -> list[Face]:
    found = predictor.detect(image)
    return predictor.predict_faces(image, found[:1] if selection.largest else found)


def _plan_copies(photos: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Return the path of the copy of each photo; ConfigError if one would overwrite a file."""
    common = Path(os.path.commonpath([photo.absolute().parent for photo in photos]))
    reserved = {_real(photo) for photo in photos}
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
    resolved = _real(copy)
    if resolved in reserved:
        raise ConfigError(f"{copy}: the copy of {clash}; name another folder for the copies")
    reserved.add(resolved)
    return copy


def _real(path: str | Path) -> Path:
    """Return a path without links; unlike Path.resolve, it accepts a link that leads to itself."""
    return Path(os.path.realpath(path))
