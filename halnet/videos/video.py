"""Video: which names stand for videos, and what every video gives: pictures with their times.

`video_file.py` reads files, and `live_video.py` reads cameras and network streams.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from halnet.closing import Closing
from halnet.errors import ImageError
from halnet.photos.images import MAX_PIXELS, Image
from halnet.photos.images import SUFFIXES as PHOTO_SUFFIXES

SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv"),
        *(".f4v", ".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".ogv", ".mxf"),
    }
)
SCHEMES = frozenset({"rtsp", "rtsps", "http", "https"})
HEAD_BYTES = 400  # how much of a file shows whether it is a video
# What the first bytes of videos match, for files whose names do not show what they are.
MAGIC = re.compile(
    rb"\x1aE\xdf\xa3"  # Matroska, WebM
    rb"|RIFF.{4}AVI |FLV\x01|OggS"
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11"  # ASF, WMV
    rb"|\x00\x00\x01[\xb3\xba]"  # MPEG-1, MPEG-2
    rb"|(?:.{4})?\x47.{187}(?:.{4})?\x47"  # MPEG-TS: a mark after every 188 or 192 bytes
    rb"|.{4}(?:ftyp(?!hei|hev|mif1|msf1|avi)|moov|mdat|wide)",  # MP4, MOV; not HEIC, AVIF
    re.DOTALL,
)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video."""

    image: Image  # H x W x 3 uint8 RGB
    time: float  # seconds since the first frame


class Video(Closing, ABC):
    """The frames of one source, in order. Close it, or use it as a context manager.

    Iteration raises ImageError after the last frame if frames are missing, damaged, or did not
    arrive in time.
    """

    live: bool  # True: it goes on without an end

    def __init__(self, name: str) -> None:
        self.name = name  # of the source in results; see `display_name`

    def __len__(self) -> int:
        """Return roughly how many frames iteration gives; 0 if it is not known."""
        return 0

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    def _check_size(self, width: int, height: int) -> None:
        """Raise ImageError if a frame has more pixels than a photo may have."""
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"{self.name}: frames of {width} x {height} pixels are more than the "
                f"{MAX_PIXELS:,} allowed; make the video smaller first"
            )


def is_video(source: str | Path) -> bool:
    """Return whether a name stands for a video file, a camera ("0") or a network stream.

    The content of a file decides if its name ends like that of neither a video nor a photo. A file
    or folder that exists and whose name is a number is not taken for a camera.
    """
    if is_live(source):
        return True
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return not path.is_dir()
    return suffix not in PHOTO_SUFFIXES and MAGIC.match(_head(path)) is not None


def is_live(source: str | Path) -> bool:
    """Return whether a name stands for a camera or a network stream, which go on without an end."""
    return _scheme(str(source)) in SCHEMES or is_camera(source)


def is_camera(source: str | Path) -> bool:
    """Return whether a name is the number of a camera, and not that of a file or folder."""
    return str(source).isdecimal() and not Path(source).exists()


def display_name(source: str | Path) -> str:
    """Return the name of a source in results, such as "camera:0", or an address without secrets."""
    text = str(source)
    if _scheme(text) in SCHEMES:
        scheme, _, rest = text.partition("://")
        host, slash, path = re.split(r"[?#]", rest)[0].partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    return f"camera:{text}" if is_camera(source) else text


def _scheme(text: str) -> str:
    return text.partition("://")[0].lower() if "://" in text else ""


def _head(path: Path) -> bytes:
    """Return the first bytes of a file; none if it is no file or cannot be read."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(HEAD_BYTES)
    except OSError:
        pass
    return b""
