"""Video: the frames of a file, a camera or a network stream, as upright RGB pixels with a time."""

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
TIMEOUT = 10.0  # seconds without a frame after which a live source has stopped


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video."""

    image: Image  # H x W x 3 uint8 RGB
    time: float  # seconds since the first frame


def is_video(source: str | Path) -> bool:
    """Tell whether a name is that of a video file, a camera ("0") or a network stream.

    A file or folder that exists and is named like a camera is none.
    """
    text = str(source)
    if _scheme(text) in SCHEMES or Path(text).suffix.lower() in SUFFIXES:
        return True
    return text.isdecimal() and not Path(text).exists()


def is_live(source: str | Path) -> bool:
    """Tell whether a video is a camera or a network stream, which has no end of its own."""
    text = str(source)
    return is_video(source) and (_scheme(text) in SCHEMES or text.isdecimal())


def display_name(source: str | Path) -> str:
    """Return how a source is named in results: a camera as camera:0, an address without secrets."""
    text = str(source)
    if _scheme(text) in SCHEMES:
        parts = urlsplit(text)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"camera:{text}" if is_live(source) else text


class Video(Closing):
    """The frames of one source, in turn. Close it, or use it as a context manager.

    `source` is a video file, the number of a camera or the address of a stream (RTSP, HTTP). Of a
    file every frame is given, or one each `every` seconds. A live source is read all the time and
    gives the newest frame: whoever is slow misses frames, and never falls behind.

    Raises ImageError for a source that cannot be opened, and in the midst of a live one that stops.
    """

    def __init__(self, source: str | Path, every: float = 0.0, timeout: float = TIMEOUT) -> None:
        self.name = display_name(source)
        self._every = every
        self._timeout = timeout
        self._reader: _Newest | None = None
        text = str(source)
        self.live = is_live(source)
        camera = self.live and text.isdecimal()
        if not self.live and not Path(text).is_file():
            raise ImageError(f"{self.name}: no such video file")
        self._capture = _open(int(text) if camera else text, self.live and not camera, timeout)
        if not self._capture.isOpened():
            self._capture.release()
            cure = "is it a video, whole, in a codec that OpenCV reads?"
            if camera:
                cure = "is it plugged in, free, and may this user read it?"
            elif self.live:
                cure = "is the address right, and does it send?"
            raise ImageError(f"{self.name}: cannot be opened; {cure}")
        self._check_size()

    @property
    def rate(self) -> float:
        """Frames a second that this gives, by the file's header; 0 where it is not known."""
        stated = float(self._capture.get(cv2.CAP_PROP_FPS))
        if not 0 < stated < 1000:
            return 0.0
        return min(stated, 1 / self._every) if self._every else stated

    def __len__(self) -> int:
        """Return about how many frames a file gives, by its header; 0 where it is not known."""
        count, rate = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), self.rate
        stated = float(self._capture.get(cv2.CAP_PROP_FPS))
        if self.live or not count > 0 or not rate:
            return 0
        return round(count * rate / stated)

    def __iter__(self) -> Iterator[Frame]:
        return self._newest() if self.live else self._all()

    def _all(self) -> Iterator[Frame]:
        due, found = 0.0, False
        while self._capture.grab():
            # The time of the frame just grabbed; a small part of a frame is rounding.
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
            raise ImageError(f"{self.name}: no frame can be decoded")

    def _newest(self) -> Iterator[Frame]:
        self._reader = self._reader or _Newest(self._capture)
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
                f"{MAX_PIXELS:,} allowed"
            )

    def close(self) -> None:
        """Let the source go."""
        if self._reader is not None:
            self._reader.stop(self._timeout)
        self._capture.release()


class _Newest:
    """Reads a capture in a thread of its own, so that its buffers never fill; keeps one frame."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture
        self._changed = threading.Condition()
        self._frame: tuple[float, Any] | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
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
        """Return the newest frame not yet given; None where the source has ended or sends none."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._ended, timeout)
            frame, self._frame = self._frame, None
            return frame

    def stop(self, timeout: float) -> None:
        """Read no more; a read under way is waited for, since it uses the capture."""
        self._ended = True
        self._thread.join(timeout + 1.0)


def _open(source: int | str, network: bool, timeout: float) -> Any:
    # FFmpeg writes of every damaged packet to stderr by itself; what matters is said by us.
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
