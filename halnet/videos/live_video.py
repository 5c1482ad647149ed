"""Live video: the newest frames of a camera or a network stream, by OpenCV."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from halnet.errors import ImageError
from halnet.photos.images import Image, quiet_opencv
from halnet.videos.video import Frame, Video, display_name, is_camera

MAX_CAMERA = 2**31 - 1  # OpenCV does not take larger numbers
TIMEOUT = 10.0  # seconds without a frame after which a live source counts as stopped


class LiveVideo(Video):
    """The newest frames of a source: a slow reader skips frames instead of falling behind.

    `source` is the number of a camera, or the address of a stream (RTSP or HTTP). It gives every
    frame that the reader has time for, or one frame every `every` seconds. `timeout` is in seconds.

    Raises ImageError if the source cannot be opened. Iteration raises it if the source sends no
    frame for `timeout` seconds.
    """

    live = True

    def __init__(self, source: str | Path, every: float = 0.0, timeout: float = TIMEOUT) -> None:
        super().__init__(display_name(source))
        self._every = every
        self._timeout = timeout
        self._reader: _FrameReader | None = None
        camera = is_camera(source)
        self._capture = _open_camera(int(str(source))) if camera else self._open_stream(str(source))
        if not self._capture.isOpened():
            self._capture.release()
            cure = "check that the address is right and that the source is sending"
            if camera:
                cure = "check that the camera is connected, not in use, and readable by this user"
            raise ImageError(f"{self.name}: cannot be opened; {cure}")
        try:
            size = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
            self._check_size(*(int(self._capture.get(side)) for side in size))
        except ImageError:
            self.close()
            raise

    def __iter__(self) -> Iterator[Frame]:
        self._reader = self._reader or _FrameReader(self._capture)
        start, due = None, 0.0
        while (frame := self._reader.next(self._timeout)) is not None:
            moment, image = frame
            start = moment if start is None else start
            if moment - start >= due:
                due = moment - start + self._every
                yield Frame(_rgb(image), moment - start)
        raise ImageError(f"{self.name}: the source stopped sending frames")

    def close(self) -> None:
        """Release the source."""
        if self._reader is not None:
            self._reader.stop(self._timeout)
        self._capture.release()

    def _open_stream(self, address: str) -> Any:
        if not address.isprintable():  # OpenCV crashes on a text that is not Unicode
            raise ImageError(f"{self.name!r}: write such bytes of an address as %E9, for example")
        milliseconds = int(self._timeout * 1000)
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds),
        ]
        # FFmpeg prints a message for each damaged packet. What matters is an error of this class.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        with quiet_opencv(cv2.utils.logging.LOG_LEVEL_SILENT):
            return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)


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


def _open_camera(number: int) -> Any:
    with quiet_opencv(cv2.utils.logging.LOG_LEVEL_SILENT):
        return cv2.VideoCapture(min(number, MAX_CAMERA))


def _rgb(image: Any) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
