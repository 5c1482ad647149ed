"""Faces: YuNet finds boxes and five landmarks in a photo.

YuNet [Wu et al., Machine Intelligence Research 2023] in the 2023-03 release of OpenCV Zoo, through
`cv2.FaceDetectorYN`. The model is fetched once, checked by SHA-256 and kept in the user's cache.
"""

import hashlib
import os
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.alignment import Landmarks
from halnet.errors import DetectorError
from halnet.images import Image, quiet_opencv

YUNET_NAME = "face_detection_yunet_2023mar.onnx"
YUNET_URL = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/" + YUNET_NAME
)
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_VARIABLE = "HALNET_YUNET"  # environment variable: path of a local copy

DETECTION_SIDE = 640  # pixels: larger photos are shrunk to this for detection
SCORE_THRESHOLD = 0.6  # YuNet's confidence, 0 to 1
NMS_THRESHOLD = 0.3  # overlap (IoU) above which two boxes are one face


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One face in a photo."""

    box: tuple[float, float, float, float]  # x, y of the top left corner, width, height, pixels
    landmarks: Landmarks  # 5 x 2 float32, x and y in pixels, order of alignment.TEMPLATE
    score: float  # detection confidence, 0 to 1

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return self.box[2] * self.box[3]


class FaceDetector:
    """Finds all faces of a photo, largest first. Safe to share between threads.

    `model` is a local copy of the YuNet file; without it `HALNET_YUNET`, then the user's cache,
    then one download. `min_face` drops faces whose box is narrower, in pixels of the photo.

    Raises DetectorError where no valid model can be had.
    """

    def __init__(self, model: str | Path | None = None, min_face: float = 0.0) -> None:
        path = yunet_path(model)
        self._min_face = min_face
        self._lock = threading.Lock()
        try:
            with quiet_opencv():  # OpenCV 5 warns of a default that it sets itself
                self._net = cv2.FaceDetectorYN.create(
                    str(path), "", (320, 320), SCORE_THRESHOLD, NMS_THRESHOLD
                )
        except cv2.error as error:
            raise DetectorError(f"{path}: OpenCV cannot load it: {error.err}") from error

    def __call__(self, image: Image) -> tuple[DetectedFace, ...]:
        """Return the faces of an H x W x 3 uint8 RGB photo, the largest box first."""
        height, width = image.shape[:2]
        scale = min(1.0, DETECTION_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        with self._lock:
            self._net.setInputSize(size)
            found: NDArray[np.float32] | None = self._net.detect(bgr)[1]  # type: ignore[assignment]
        if found is None:
            return ()
        # A row: x, y, width, height, five (x, y), score.
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
        wide = [face for face in faces if face.box[2] >= self._min_face]
        return tuple(sorted(wide, key=lambda face: -face.area))


def yunet_path(model: str | Path | None = None) -> Path:
    """Return the path of a verified YuNet file: `model`, $HALNET_YUNET, the cache or a download."""
    local = model or os.environ.get(YUNET_VARIABLE)
    if local:
        return _check_local(Path(local))
    return _fetch()


def _check_local(path: Path) -> Path:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DetectorError(f"{path}: YuNet model cannot be read: {error.strerror}") from error
    if found != YUNET_SHA256:
        raise DetectorError(
            f"{path}: expected {YUNET_NAME} with SHA-256 {YUNET_SHA256[:12]}..., "
            f"found {found[:12]}...; download it from {YUNET_URL}"
        )
    return path


@cache
def _fetch() -> Path:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    try:
        # Downloads beside the target, checks the hash, renames: never a partial file in the cache.
        path = pooch.retrieve(
            YUNET_URL,
            known_hash=f"sha256:{YUNET_SHA256}",
            fname=YUNET_NAME,
            path=os.environ.get("HALNET_CACHE") or pooch.os_cache("halnet"),
            downloader=pooch.HTTPDownloader(progressbar=_DownloadBar(), timeout=30),
        )
    except (OSError, ValueError) as error:  # no network, or another file under that address
        raise DetectorError(
            f"the face detector {YUNET_NAME} could not be fetched from {YUNET_URL} "
            f"({type(error).__name__}); download it by other means and name its path with "
            f"--detector or {YUNET_VARIABLE}"
        ) from error
    return Path(path)


class _DownloadBar:
    """What pooch asks of a progress bar, drawn by rich; silent where there is no terminal."""

    total: float = 0

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(f"fetching {YUNET_NAME}", total=None)

    def update(self, amount: float) -> None:
        self._bar.start()
        self._bar.update(self._task, total=self.total, advance=amount)

    def reset(self) -> None:
        self._bar.reset(self._task)

    def close(self) -> None:
        self._bar.stop()
