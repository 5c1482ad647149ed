"""Video files: read with their times, and written as MP4, by PyAV (the libraries of FFmpeg).

What a recording lacks is noticed by three signs: FFmpeg marks a packet or a picture as damaged, the
file states a longer duration than its packets have, or its last transport packet is incomplete.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from halnet.errors import ConfigError, ImageError, RuntimeUnavailableError
from halnet.files import replacing
from halnet.packages import import_library
from halnet.photos.images import Image
from halnet.videos.video import Frame, Video, display_name

# The file is opened here and not by its name, since FFmpeg takes "12:30.mp4" for an address. Other
# files and addresses that a playlist names are not opened.
OPTIONS = {"protocol_whitelist": "none"}
ROUNDING = 1e-3  # seconds by which the time of a frame may be off
MAX_MISSING = 0.5  # seconds: a file that ends earlier than it states by more is cut off
MAX_STEP_BACK = 1.0  # seconds: times that go back by more belong to another recording
USUAL_RATE = 25.0  # frames per second of a file that states neither its rate nor any times
TRANSPORT_PACKETS = (188, 192, 204)  # possible sizes in bytes; an MPEG-TS file has whole packets
TICK = Fraction(1, 90_000)  # seconds: times in an MP4 file are multiples of it


class VideoFile(Video):
    """The frames of a file: every frame, or one frame every `every` seconds.

    The frames are as players show them: upright and with square pixels, whatever the rotation and
    the shape of the pixels that the file states. Damaged frames are left out.

    Raises ImageError if the file cannot be opened, or if PyAV is not installed. Iteration raises it
    after the last frame if the file is damaged or cut off.
    """

    live = False

    def __init__(self, source: str | Path, every: float = 0.0) -> None:
        super().__init__(display_name(source))
        self._every = every
        try:
            av = import_library("av", "the reader of video files", "video")
        except RuntimeUnavailableError as error:
            raise ImageError(f"{self.name}: {error}") from error
        self._av_error = av.FFmpegError
        with ExitStack() as opened:
            self._file = opened.enter_context(self._open_file(source))
            try:
                container = av.open(self._file, metadata_errors="replace", options=OPTIONS)
            except (self._av_error, OSError) as error:
                raise ImageError(
                    f"{self.name}: cannot be opened; check that it is a complete video in a "
                    "format that FFmpeg reads"
                ) from error
            self._container = opened.enter_context(container)
            self._stream = self._find_stream()
            self._opened = opened.pop_all()

    def __len__(self) -> int:
        frames = self._stream.frames or self._stated_seconds * self._rate
        if self._every:
            frames = min(frames, math.ceil(frames / self._rate / self._every))
        return round(frames)

    def __iter__(self) -> Iterator[Frame]:
        progress = _Progress()
        due = 0.0
        for picture in self._pictures(progress):
            moment = progress.time
            if moment + ROUNDING < due:
                continue
            yield Frame(self._pixels(picture), moment)
            if self._every:
                due = ((moment + ROUNDING) // self._every + 1) * self._every
        self._check_end(progress)

    def close(self) -> None:
        """Close the file."""
        self._opened.close()

    def _open_file(self, source: str | Path) -> BinaryIO:
        try:
            return Path(source).open("rb")
        except OSError as error:
            raise ImageError(f"{self.name}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ImageError(f"{self.name!r}: cannot be read: {error}") from error

    def _find_stream(self) -> Any:
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise ImageError(f"{self.name}: there are no pictures that FFmpeg can decode in it")
        self._check_size(stream.width, stream.height)
        stream.thread_type = "AUTO"
        return stream

    @property
    def _rate(self) -> float:
        return float(self._stream.guessed_rate or USUAL_RATE)

    @property
    def _stated_seconds(self) -> float:
        return (self._container.duration or 0) / 1_000_000

    def _pictures(self, progress: "_Progress") -> Iterator[Any]:
        """Yield the pictures that can be decoded. `progress` has what was read, and what not."""
        for packet in self._packets(progress):
            if packet.stream is not self._stream or packet.is_corrupt:
                continue
            try:
                pictures = packet.decode()
            except self._av_error:
                progress.damaged += 1
                continue
            for picture in pictures:
                if picture.is_corrupt:
                    progress.damaged += 1
                else:
                    progress.count(picture.time, 1 / self._rate)
                    yield picture

    def _packets(self, progress: "_Progress") -> Iterator[Any]:
        """Yield the packets of pictures and sounds. The last one shows how far the file reaches."""
        streams = [s for s in self._container.streams if s.type in ("video", "audio")]
        start = (self._container.start_time or 0) / 1_000_000
        try:
            for packet in self._container.demux(streams):
                progress.damaged += packet.is_corrupt
                time = packet.dts if packet.pts is None else packet.pts
                if time is not None:
                    end = float((time + (packet.duration or 0)) * packet.time_base)
                    progress.reached = max(progress.reached, end - start)
                yield packet
        except (self._av_error, OSError):
            progress.damaged += 1

    def _pixels(self, picture: Any) -> Image:
        """Return a picture as players show it, as H x W x 3 uint8 RGB."""
        width = round(picture.width * (self._stream.sample_aspect_ratio or 1))
        self._check_size(width, picture.height)
        image = picture.to_ndarray(format="rgb24", width=width)
        # PyAV states an angle, and np.rot90 takes quarters, both counterclockwise.
        return np.ascontiguousarray(np.rot90(image, picture.rotation // 90), np.uint8)

    def _check_end(self, progress: "_Progress") -> None:
        """Raise ImageError if not all that the file states could be read."""
        if progress.frames == 0:
            raise ImageError(
                f"{self.name}: no frame can be decoded; check that the file is complete"
            )
        is_short = self._stated_seconds - progress.reached > MAX_MISSING
        if is_short or progress.damaged or self._ends_inside_a_packet():
            whole = f" of {self._stated_seconds:.2f} s" if is_short else ""
            raise ImageError(
                f"{self.name}: the video is damaged or cut off; {progress.frames} frames could be "
                f"read, the last one at {progress.time:.2f} s{whole}; copy or repair the file"
            )

    def _ends_inside_a_packet(self) -> bool:
        size = os.fstat(self._file.fileno()).st_size
        return self._container.format.name == "mpegts" and all(size % n for n in TRANSPORT_PACKETS)


class _Progress:
    """How far a file was read."""

    def __init__(self) -> None:
        self.frames = 0
        self.damaged = 0  # packets and pictures that are incomplete or cannot be decoded
        self.reached = 0.0  # seconds from the start to the end of the last packet
        self.time = 0.0  # seconds from the first frame to the newest one
        self._start: float | None = None

    def count(self, stated: float | None, step: float) -> None:
        """Count a frame. `stated` is its time in the file, `step` the usual time between two.

        Frames come in the order in which they are shown, so that their times never go back, even
        if a file states no times (bare pictures) or starts anew (joined recordings).
        """
        if self._start is None:
            self._start = stated or 0.0
        elif stated is None or stated - self._start < self.time - MAX_STEP_BACK:
            self.time += step
            self._start = (stated or self.time) - self.time
        else:
            self.time = max(self.time, stated - self._start)
        self.frames += 1


@contextmanager
def mp4_writer(path: Path, first: Image) -> Iterator[Callable[[Image, float], None]]:
    """Yield a function that appends a frame with its time in seconds to an MP4 file (H.264).

    Frames are H x W x 3 uint8 RGB. All get the size of the `first` one, where an odd side is a
    pixel longer, since players need even ones. Raises ConfigError if the file cannot be written.
    """
    av = import_library("av", "the writer of video files", "video")
    height, width = first.shape[:2]
    last, step = -1, 1  # ticks: time of the last frame, and from the frame before it

    def write(image: Image, time: float) -> None:
        nonlocal last, step
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = max(round(time / TICK), last + 1), TICK
        last, step = frame.pts, frame.pts - max(last, 0)
        container.mux(stream.encode(frame))

    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            with av.open(file, "w", format="mp4") as container:
                stream = container.add_stream("libx264", options={"preset": "veryfast"})
                stream.width, stream.height = width + width % 2, height + height % 2
                stream.pix_fmt, stream.codec_context.time_base = "yuv420p", TICK
                yield write
                for packet in stream.encode():
                    packet.duration = step  # the last frame is shown as long as the one before it
                    container.mux(packet)
        except av.FFmpegError as error:
            raise ConfigError(f"{path}: a video cannot be written: {error}") from error
