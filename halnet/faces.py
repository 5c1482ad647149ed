"""Faces: what a face detector returns, and the detector YuNet.

YuNet [Wu et al., Machine Intelligence Research 2023] finds boxes and five landmarks. HAL-Net uses
the release 2023-03 of OpenCV Zoo through `cv2.FaceDetectorYN`. The model is downloaded once,
checked by its SHA-256, and kept in a cache folder.
"""

import hashlib
import math
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.alignment import Landmarks
from halnet.errors import ConfigError, DetectorError
from halnet.images import Image, quiet_opencv

YUNET_NAME = "face_detection_yunet_2023mar.onnx"
YUNET_URL = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/" + YUNET_NAME
)
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_VARIABLE = "HALNET_YUNET"  # environment variable: path of a local copy of the YuNet file
CACHE_VARIABLE = "HALNET_CACHE"  # environment variable: folder where a downloaded file is kept

DETECTION_SIDE = 640  # pixels: a photo with a longer side is shrunk to this for detection
SCORE_THRESHOLD = 0.6  # confidence, 0 to 1: YuNet drops faces below it
NMS_THRESHOLD = 0.3  # overlap (IoU) above which YuNet takes two boxes for one face
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

    def is_inside(self, photo: Image) -> bool:
        """Return whether an H x W x 3 photo can show the face, so that its crop is not empty.

        The middle of the landmarks must be inside the photo. A landmark of a face that is cut off
        by the border may be outside, but by no more than the width or the height of the photo.
        """
        height, width = photo.shape[:2]
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


class FaceDetector:
    """YuNet, which finds all faces of a photo. Several threads may share one detector.

    `model` is the path of a YuNet file; without it, see `yunet_path`. Faces with a box narrower
    than `min_face`, in pixels of the photo, are left out (see `largest_first`).

    Raises ConfigError if `min_face` is wrong, and DetectorError if there is no valid YuNet file and
    none can be downloaded.
    """

    def __init__(self, model: str | Path | None = None, min_face: float = 0.0) -> None:
        self._min_face = check_min_face(min_face)
        path = yunet_path(model)
        self._lock = threading.Lock()
        try:
            with quiet_opencv():  # OpenCV 5 warns of a default that it sets itself
                self._net = cv2.FaceDetectorYN.create(
                    str(path), "", (320, 320), SCORE_THRESHOLD, NMS_THRESHOLD
                )
        except cv2.error as error:
            raise DetectorError(f"{path}: OpenCV cannot load it: {error.err}") from error

    def __call__(self, photo: Image) -> tuple[DetectedFace, ...]:
        """Return the faces of an H x W x 3 uint8 RGB photo, the largest box first."""
        height, width = photo.shape[:2]
        scale = min(1.0, DETECTION_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = photo if scale == 1.0 else cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        with self._lock:
            self._net.setInputSize(size)
            found: NDArray[np.float32] | None = self._net.detect(bgr)[1]  # type: ignore[assignment]
        if found is None:
            return ()
        # A row is x, y, width, height, five times (x, y), score.
        rows = found.copy()
        rows[:, :14] *= np.tile([width / size[0], height / size[1]], 7)
        faces = (
            DetectedFace(
                box=(float(row[0]), float(row[1]), float(row[2]), float(row[3])),
                landmarks=row[4:14].reshape(5, 2).copy(),
                score=float(row[14]),
            )
            for row in rows
        )
        return largest_first(faces, photo, self._min_face)


def largest_first(
    found: Iterable[DetectedFace], photo: Image, min_face: float = 0.0
) -> tuple[DetectedFace, ...]:
    """Return what counts as a face of the photo, the largest box first. It is so for all detectors.

    Left out are faces with a box narrower than `min_face` pixels, and those whose landmarks are far
    outside of the photo (see `DetectedFace.is_inside`).

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

    Raises DetectorError if the file cannot be read or downloaded, or is not the expected one.
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

    pooch.get_logger().setLevel("WARNING")
    try:
        # pooch writes beside the target, checks the hash and renames: the cache never holds a part.
        path = pooch.retrieve(
            YUNET_URL,
            known_hash=f"sha256:{YUNET_SHA256}",
            fname=YUNET_NAME,
            path=os.environ.get(CACHE_VARIABLE) or pooch.os_cache("halnet"),
            downloader=pooch.HTTPDownloader(progressbar=_DownloadBar(), timeout=30),
        )
    except (OSError, ValueError) as error:  # there is no network, or the file is another one
        raise DetectorError(
            f"the face detector {YUNET_NAME} could not be downloaded from {YUNET_URL} "
            f"({type(error).__name__}); download it by other means, and name its path with "
            f"--detector or {YUNET_VARIABLE}"
        ) from error
    return Path(path)


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
