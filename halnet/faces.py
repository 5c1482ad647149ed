"""Faces: what a face detector returns, and the detector YuNet.

YuNet [Wu et al., Machine Intelligence Research 2023] finds boxes and five landmarks. HAL-Net uses
the release 2023-03 of OpenCV Zoo, computed by the fastest library that is installed (see
`halnet.yunet_engines`). The model is downloaded once, checked by its SHA-256, and kept in a cache
folder.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.alignment import MAX_ROLL, Landmarks, roll
from halnet.cache import CACHE_VARIABLE, cache_folder
from halnet.errors import ConfigError, DetectorError
from halnet.forking import Forkable
from halnet.photos.images import Image
from halnet.yunet_engines import open_engine
from halnet.yunet_output import find_rows, to_blob

YUNET_NAME = "face_detection_yunet_2023mar.onnx"
YUNET_URL = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/" + YUNET_NAME
)
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_VARIABLE = "HALNET_YUNET"  # environment variable: path of a local copy of the YuNet file

DETECTION_SIDE = 640  # pixels: a photo with a longer side is shrunk to this for detection
MIN_INSIDE = 0.5  # share of the area of a box: if less is inside the photo, it is no face
MAX_OUTSIDE = 1.0  # widths or heights of the photo: a landmark farther outside is a mistake


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face that a detector found in a photo. All coordinates are in pixels of the photo.

    `landmarks` are x and y of the left eye, right eye, nose tip, left mouth corner and right mouth
    corner. "Left" means the left side of the picture, which is the right side of the person.

    Lists and other number types are converted. Raises DetectorError if the box is not four finite
    numbers with a width and height above 0, if the landmarks are not 5 x 2 finite numbers or are
    all in one place, or if the score is not a number.
    """

    box: tuple[float, float, float, float]  # x and y of the top left corner, width, height
    landmarks: Landmarks  # 5 x 2 float32: x and y
    score: float  # confidence of the detection, from 0 to 1

    def __post_init__(self) -> None:
        box = _numbers("box", self.box, (4,), "four finite numbers (x, y, width, height)")
        if box[2] <= 0 or box[3] <= 0:
            raise DetectorError(
                "box of a detected face: expected x, y, width, height with width and height above "
                f"0, found {box.tolist()}"
            )
        places = "5 x 2 finite numbers (x and y of eyes, nose tip and mouth corners)"
        numbers = _numbers("landmarks", self.landmarks, (5, 2), places)
        with np.errstate(over="ignore"):
            landmarks = numbers.astype(np.float32)
        if not np.isfinite(landmarks).all():
            raise DetectorError(
                "landmarks of a detected face: expected numbers in the range of float32, found "
                f"{numbers.tolist()}"
            )
        if (landmarks == landmarks[0]).all():
            raise DetectorError(
                "landmarks of a detected face: expected five different places, found "
                f"{landmarks[0].tolist()} five times"
            )
        score = _numbers("score", self.score, (), "a finite number (confidence from 0 to 1)")
        object.__setattr__(self, "box", tuple(box.tolist()))
        object.__setattr__(self, "landmarks", landmarks)
        object.__setattr__(self, "score", float(score))

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return self.box[2] * self.box[3]

    @property
    def turned(self) -> int:
        """Degrees by which the face is turned clockwise, from -179 to 180; 0 if nearly upright."""
        angle = roll(self.landmarks)
        return round(angle) if abs(angle) > MAX_ROLL else 0

    def scaled(self, across: float, down: float) -> "DetectedFace":
        """Return the face in a photo that is so many times as wide and as high."""
        if across == down == 1:
            return self
        factors = np.array([across, down])
        x, y, width, height = (np.array(self.box).reshape(2, 2) * factors).ravel().tolist()
        return DetectedFace((x, y, width, height), self.landmarks * factors, self.score)

    def is_inside(self, photo: Image) -> bool:
        """Return whether an H x W x 3 photo can show the face, so that its crop is not empty.

        At least half of the box and the middle of the landmarks must be inside the photo. A
        landmark of a face that is cut off by the border may be outside, but by no more than the
        width or the height of the photo.
        """
        height, width = photo.shape[:2]
        x, y, box_width, box_height = self.box
        across = min(x + box_width, width) - max(x, 0)
        down = min(y + box_height, height) - max(y, 0)
        if min(across, down) <= 0 or across * down < MIN_INSIDE * self.area:
            return False
        places = self.landmarks.astype(np.float64) / (width, height)  # 0 to 1 inside the photo
        distances = np.maximum(-places, places - 1)  # above 0: outside
        middle = places.mean(axis=0)
        is_central = bool(((middle >= 0) & (middle <= 1)).all())
        return is_central and bool(distances.max() <= MAX_OUTSIDE)


def _numbers(
    name: str, value: object, shape: tuple[int, ...], expected: str
) -> NDArray[np.float64]:
    """Return finite numbers of this shape; DetectorError if `value` is anything else."""
    message = f"{name} of a detected face: expected {expected}, found "
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise DetectorError(f"{message}{type(value).__name__}") from error
    if numbers.shape != shape:
        raise DetectorError(f"{message}an array of shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise DetectorError(f"{message}{numbers.tolist()}")
    return numbers


class Detector(Protocol):
    """Any callable that finds the faces of a photo: a function, or an object such as FaceDetector.

    `Predictor(detector=...)` accepts it. If several threads share a predictor, they call its
    detector at the same time.
    """

    def __call__(self, photo: Image, /) -> Sequence[DetectedFace]:
        """Return the faces of an H x W x 3 uint8 RGB photo in any order, or an empty sequence."""
        ...


class FaceDetector(Forkable):
    """YuNet, which finds all faces of a photo. Several threads may share one detector.

    It is loaded again in a process that was forked, or where it is unpickled.

    `model` is the path of a YuNet file; without it, see `yunet_path`. Faces with a box narrower
    than `min_face`, in pixels of the photo, are left out (see `largest_first`). `engine` is the
    library that computes YuNet, onnxruntime, openvino or opencv; "auto" stands for the first of
    these that is installed. `threads` is the number of its threads; None: one for each core.

    Raises ConfigError if `min_face` or `engine` is wrong, RuntimeUnavailableError if the library is
    missing, and DetectorError if there is no valid YuNet file and none can be downloaded.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        min_face: float = 0.0,
        engine: str = "auto",
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self._min_face = check_min_face(min_face)
        self._model = None if model is None else Path(model).absolute()
        self._path = yunet_path(self._model).absolute()
        self._options = engine, threads
        self._open()

    def __reduce__(self) -> tuple[Any, ...]:
        return FaceDetector, (self._model, self._min_face, *self._options)

    @property
    def engine(self) -> str:
        """The library that computes YuNet: onnxruntime, openvino or opencv."""
        return self._engine.name

    def _open(self) -> None:
        self._engine = open_engine(self._path.read_bytes(), *self._options)

    def _after_fork(self) -> None:
        """Load YuNet again, with threads of its own."""
        if not self._engine.survives_fork:
            super()._after_fork()
        self._open()

    def __call__(self, photo: Image) -> tuple[DetectedFace, ...]:
        """Return the faces of an H x W x 3 uint8 RGB photo, the largest box first."""
        self.check_process()
        small = shrink(photo)
        blob = to_blob(small)
        rows = find_rows(self._engine(blob), blob.shape[3])
        rows[:, :14] *= np.tile(np.divide(photo.shape[1::-1], small.shape[1::-1]), 7)
        return largest_first(_possible_faces(rows), photo, self._min_face)


def shrink(photo: Image) -> Image:
    """Return a photo whose longer side has at most DETECTION_SIDE pixels, as YuNet gets it."""
    height, width = photo.shape[:2]
    scale = min(1.0, DETECTION_SIDE / max(height, width))
    if scale == 1.0:
        return photo
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def _possible_faces(rows: NDArray[np.float32]) -> Iterator[DetectedFace]:
    """Yield the faces of YuNet, without those whose numbers no face can have."""
    for row in rows:
        with suppress(DetectorError):
            yield DetectedFace(
                box=(float(row[0]), float(row[1]), float(row[2]), float(row[3])),
                landmarks=row[4:14].reshape(5, 2).copy(),
                score=float(row[14]),
            )


def largest_first(
    found: Iterable[DetectedFace], photo: Image, min_face: float = 0.0
) -> tuple[DetectedFace, ...]:
    """Return what counts as a face of the photo, the largest box first. It is so for all detectors.

    Left out are faces with a box narrower than `min_face` pixels, and those that are mostly outside
    of the photo (see `DetectedFace.is_inside`).

    Raises DetectorError if `found`, which a detector returned, is not a sequence of DetectedFace.
    """
    expected = "the face detector must return a sequence of halnet.DetectedFace values"
    try:
        faces = list(found)
    except TypeError as error:
        raise DetectorError(f"{expected}, but it returned {type(found).__name__}") from error
    for face in faces:
        if not isinstance(face, DetectedFace):
            raise DetectorError(f"{expected}, but one of them is {type(face).__name__}")
    kept = [face for face in faces if face.box[2] >= min_face and face.is_inside(photo)]
    return tuple(sorted(kept, key=lambda face: -face.area))


def check_min_face(min_face: float) -> float:
    """Return the width of the narrowest face. Raises ConfigError unless it is from 0 up."""
    if not 0 <= min_face < math.inf:
        raise ConfigError(
            f"min_face: expected a finite number of pixels from 0 up, found {min_face}"
        )
    return min_face


def yunet_path(model: str | Path | None = None) -> Path:
    """Return the path of a YuNet file, after its SHA-256 was checked.

    This is `model`, or the file that the environment variable HALNET_YUNET names. Without both, it
    is a file in a cache folder, which is downloaded on first use. The environment variable
    HALNET_CACHE names that folder; without it, the user's cache folder for halnet is used (on
    Linux, ~/.cache/halnet).

    Raises DetectorError if the file cannot be read or downloaded, is not the expected one, or if
    the cache folder cannot be used.
    """
    local = model or os.environ.get(YUNET_VARIABLE)
    return _check_local(Path(local)) if local else _download()


def _check_local(path: Path) -> Path:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DetectorError(
            f"{path}: the YuNet model cannot be read: {error.strerror}; download it from "
            f"{YUNET_URL}"
        ) from error
    if found != YUNET_SHA256:
        raise DetectorError(
            f"{path}: expected {YUNET_NAME} with SHA-256 {YUNET_SHA256[:12]}..., "
            f"found {found[:12]}...; download it from {YUNET_URL}"
        )
    return path


def _download() -> Path:
    """Return the file in the cache folder, after downloading it if it is not there yet."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    folder = _cache_folder()
    try:
        # pooch writes beside the target, checks the hash and renames: the cache never holds a part.
        pooch.retrieve(
            YUNET_URL,
            known_hash=f"sha256:{YUNET_SHA256}",
            fname=YUNET_NAME,
            path=folder,
            downloader=_download_file,
        )
    except (RequestException, ValueError) as error:  # no network, or the file is another one
        raise DetectorError(
            f"the face detector {YUNET_NAME} could not be downloaded from {YUNET_URL} "
            f"({type(error).__name__}); download it by other means, and name its path with "
            f"--detector or {YUNET_VARIABLE}"
        ) from error
    except OSError as error:
        reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise DetectorError(
            f"{folder / YUNET_NAME}: the face detector cannot be read or written there: "
            f"{reason.strerror}; name another folder with {CACHE_VARIABLE}, or a copy of the file "
            f"with {YUNET_VARIABLE}"
        ) from error
    return folder / YUNET_NAME


def _cache_folder() -> Path:
    """Return the folder where a downloaded file is kept; DetectorError if there can be none."""
    try:
        return cache_folder()
    except ConfigError as error:
        raise DetectorError(
            "the face detector is kept in a cache folder, but this user has no home folder; name a "
            f"folder with {CACHE_VARIABLE}, or a copy of {YUNET_NAME} with {YUNET_VARIABLE}"
        ) from error


def _download_file(url: str, file: str, manager: object) -> None:
    """Write what is at an address into a file that pooch made."""
    import pooch

    # pooch made the file for this user alone. In a new one, the umask decides who else may read it.
    Path(file).unlink()
    pooch.HTTPDownloader(progressbar=_DownloadBar(), timeout=30)(url, file, manager)


class _DownloadBar:
    """The progress bar that pooch calls, drawn by rich. Without a terminal, it prints nothing."""

    total: float = 0

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(f"downloading {YUNET_NAME}", total=None)

    def update(self, amount: float) -> None:
        self._bar.start()
        self._bar.update(self._task, total=self.total, advance=amount)

    def reset(self) -> None:
        self._bar.reset(self._task)

    def close(self) -> None:
        self._bar.stop()
