"""Video: the frames of a file, a camera or a network stream as RGB pixels, each with its time."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from halnet.closing import Closing
from halnet.errors import ImageError
from halnet.images import MAX_PIXELS, Image, quiet_opencv

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"})
SCHEMES = frozenset({"rtsp", "rtsps", "http", "https"})
TIMEOUT = 10.0  # seconds without a frame after which a live source counts as stopped


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video."""

    image: Image  # H x W x 3 uint8 RGB
    time: float  # seconds since the first frame


def is_video(source: str | Path) -> bool:
    """Return whether a name stands for a video file, a camera ("0") or a network stream.

    A file or folder that exists and whose name is a number is not taken for a camera.
    """
    text = str(source)
    if _scheme(text) in SCHEMES or Path(text).suffix.lower() in SUFFIXES:
        return True
    return text.isdecimal() and not Path(text).exists()


def is_live(source: str | Path) -> bool:
    """Return whether a name stands for a camera or a network stream, which go on without an end."""
    text = str(source)
    return is_video(source) and (_scheme(text) in SCHEMES or text.isdecimal())


def display_name(source: str | Path) -> str:
    """Return the name of a source in results, such as "camera:0", or an address without secrets."""
    text = str(source)
    if _scheme(text) in SCHEMES:
        parts = urlsplit(text)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"camera:{text}" if is_live(source) else text


class Video(Closing):
    """The frames of one source, in order. Close it, or use it as a context manager.

    `source` is a video file, the number of a camera, or the address of a stream (RTSP or HTTP). A
    file gives every frame, or one frame every `every` seconds. A live source always gives its
    newest frame: a slow reader skips frames instead of falling behind. `timeout` is in seconds.

    Raises ImageError if the source cannot be opened. Iteration raises it if a file has no frame
    that can be decoded, or a live source sends no frame for `timeout` seconds.
    """

    def __init__(self, source: str | Path, every: float = 0.0, timeout: float = TIMEOUT) -> None:
        self.name = display_name(source)
        self._every = every
        self._timeout = timeout
        self._reader: _FrameReader | None = None
        text = str(source)
        self.live = is_live(source)
        camera = self.live and text.isdecimal()
        if not self.live and not Path(text).is_file():
            raise ImageError(f"{self.name}: no such video file")
        self._capture = _open(int(text) if camera else text, self.live and not camera, timeout)
        if not self._capture.isOpened():
            self._capture.release()
            cure = "check that it is a complete video in a format that OpenCV reads"
            if camera:
                cure = "check that the camera is connected, not in use, and readable by this user"
            elif self.live:
                cure = "check that the address is right and that the source is sending"
            raise ImageError(f"{self.name}: cannot be opened; {cure}")
        self._check_size()

    @property
    def rate(self) -> float:
        """Frames per second that iteration gives, from the header; 0 if it is unknown."""
        stated = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < stated < 1000:
            return 0.0
        return min(stated, 1 / self._every) if self._every else stated

    def __len__(self) -> int:
        """Return roughly how many frames a file gives, from its header; 0 if it is unknown."""
        count, rate = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), self.rate
        stated = float(self._capture.get(cv2.CAP_PROP_FPS))
        if self.live or not count > 0 or not rate:
            return 0
        return round(count * rate / stated)

    def __iter__(self) -> Iterator[Frame]:
        return self._newest_frames() if self.live else self._file_frames()

    def _file_frames(self) -> Iterator[Frame]:
        due, found = 0.0, False
        while self._capture.grab():
            # The time of the frame that was just grabbed. It may be slightly off by rounding.
            moment = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            if moment + 1e-3 < due:
                continue
            read, image = self._capture.retrieve()
            if not read:
                break
            found = True
            yield Frame(_rgb(image), moment)
            due = due + self._every if self._every else 0.0
        if not found:
            raise ImageError(
                f"{self.name}: no frame can be decoded; check that the file is complete"
            )

    def _newest_frames(self) -> Iterator[Frame]:
        self._reader = self._reader or _FrameReader(self._capture)
        start, due = None, 0.0
        while (frame := self._reader.next(self._timeout)) is not None:
            moment, image = frame
            start = moment if start is None else start
            if moment - start >= due:
                due = moment - start + self._every
                yield Frame(_rgb(image), moment - start)
        raise ImageError(f"{self.name}: the source stopped sending frames")

    def _check_size(self) -> None:
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_PIXELS:
            self.close()
            raise ImageError(
                f"{self.name}: frames of {width} x {height} pixels are more than the "
                f"{MAX_PIXELS:,} allowed; make the video smaller first"
            )

    def close(self) -> None:
        """Release the source."""
        if self._reader is not None:
            self._reader.stop(self._timeout)
        self._capture.release()


class _FrameReader:
    """Reads all frames of a live source in a thread, so that no buffer fills; keeps the newest."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self._changed = threading.Condition()
        self._frame: tuple[float, Any] | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._read, name="halnet-video", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended:
            read, image = self._capture.read()
            with self._changed:
                if not read:
                    self._ended = True
                else:
                    self._frame = time.monotonic(), image
                self._changed.notify_all()

    def next(self, timeout: float) -> tuple[float, Any] | None:
        """Return the newest frame that was not returned before, with the time when it was read.

        Returns None if the source has ended, or sends nothing for `timeout` seconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended, timeout)
            frame, self._frame = self._frame, None
            return frame

    def stop(self, timeout: float) -> None:
        """Stop reading. This waits for a read that is in progress, because it uses the capture."""
        self._ended = True
        self._thread.join(timeout + 1.0)


def _open(source: int | str, network: bool, timeout: float) -> Any:
    # FFmpeg prints a message for each damaged packet. Errors that matter are raised here instead.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with quiet_opencv(cv2.utils.logging.LOG_LEVEL_SILENT):
        if not network:
            return cv2.VideoCapture(source)
        milliseconds = int(timeout * 1000)
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds),
        ]
        return cv2.VideoCapture(str(source), cv2.CAP_FFMPEG, limits)


def _scheme(text: str) -> str:
    return text.partition("://")[0].lower() if "://" in text else ""


def _rgb(image: Any) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
