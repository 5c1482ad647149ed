"""Images: from a path or the bytes of a file to upright RGB pixels of limited size."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.errors import ImageError

Image = NDArray[np.uint8]

MAX_PIXELS = 100_000_000  # a 100-megapixel photo decodes to 300 MB
MAX_BYTES = 200_000_000  # a larger file is not read at all
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
FORMATS = "JPEG, PNG, WebP or BMP"
_HEIF = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"}


@contextmanager
def quiet_opencv(level: int = cv2.utils.logging.LOG_LEVEL_ERROR) -> Iterator[None]:
    """Keep OpenCV from printing messages less severe than `level` while the block runs."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(level)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def load_image(source: str | Path | bytes | Image, name: str = "the image bytes") -> Image:
    """Return a photo as upright H x W x 3 uint8 RGB.

    `source` is a path, the bytes of a JPEG, PNG, WebP or BMP file, or an H x W x 3 uint8 RGB array,
    which is returned as it is. Gray, CMYK and 16-bit files become 8-bit RGB. Transparency is
    dropped, EXIF orientation is applied, and an animation gives its first frame. Width and height
    are read from the header and checked before anything is decoded. `name` stands for the bytes in
    error messages.

    Raises ImageError for anything else, and for a photo with more than MAX_PIXELS pixels.
    """
    if isinstance(source, np.ndarray):
        return _check_array(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), name)
    path = Path(source)
    return _decode(_read(path), str(path))


def encode_image(image: Image, suffix: str) -> bytes:
    """Return an H x W x 3 uint8 RGB image as the bytes of a file. `suffix` is .jpg or .png."""
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _check_array(array: Image) -> Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageError(
            f"image array: expected H x W x 3 uint8 RGB, found {array.dtype} of shape {array.shape}"
        )
    _check_pixels(array.shape[1], array.shape[0], "image array")
    return array


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise ImageError(f"{path}: expected a photo, found a folder")
        if size > MAX_BYTES:
            raise ImageError(
                f"{path}: {size:,} bytes are more than the {MAX_BYTES:,} allowed; make the photo "
                "smaller first"
            )
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error


def _decode(data: bytes, name: str) -> Image:
    if not data:
        raise ImageError(f"{name}: the file is empty")
    size = image_size(data)
    if size is None:
        if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
            raise ImageError(f"{name}: a HEIC or AVIF photo; save it as JPEG first")
        raise ImageError(f"{name}: not a {FORMATS} image, or its header is damaged")
    _check_pixels(*size, name)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded: {error.err}") from error
    if image is None or _is_truncated(data):
        raise ImageError(f"{name}: the image data is damaged or cut off")
    return np.asarray(image, np.uint8)


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than the {MAX_PIXELS:,} allowed; "
            "make the photo smaller first"
        )


def _is_truncated(data: bytes) -> bool:
    """Return whether the end of a file is missing. Decoders fill the lost part with gray."""
    if data.startswith(b"\xff\xd8"):  # JPEG: the end marker must follow the first scan
        scan = max((start for _, start in _jpeg_segments(data)), default=0)
        return data.find(b"\xff\xd9", scan) < 0
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return len(data) < int.from_bytes(data[2:6], "little")  # BMP: the header has the length


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels from the header of a file; None without a known header."""
    for magic, reader in _HEADERS.items():
        if data.startswith(magic):
            try:
                size = reader(data)
            except (struct.error, IndexError):
                return None
            return size if size and min(size) > 0 else None
    return None


def _png_size(data: bytes) -> tuple[int, int]:
    return struct.unpack(">II", data[16:24])


def _bmp_size(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack("<ii", data[18:26])
    return abs(width), abs(height)  # a negative height means that the top row comes first


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, start in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack(">HH", data[start + 3 : start + 7])
            return width, height
    return None


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (marker, offset of the length field) of each segment before the compressed data."""
    offset = 2
    while data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF:  # padding
            offset += 1
            continue
        yield marker, offset + 2
        if marker == 0xDA:
            return
        offset += 2 + struct.unpack(">H", data[offset + 2 : offset + 4])[0]


_HEADERS: dict[bytes, Callable[[bytes], tuple[int, int] | None]] = {
    b"\xff\xd8\xff": _jpeg_size,
    b"\x89PNG\r\n\x1a\n": _png_size,
    b"RIFF": _webp_size,
    b"BM": _bmp_size,
}
