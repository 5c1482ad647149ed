"""Images: from a path or the bytes of a file to upright RGB pixels of limited size."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.errors import ImageError
from halnet.photos.heif import EXTRA, decode_heif
from halnet.photos.image_formats import (
    AVIF,
    HEAD,
    HEIC,
    JPEG,
    MAX_PARTS,
    UNREAD,
    find_format,
    image_size,
)
from halnet.photos.jpeg_scan import count_scans, decode_jpeg
from halnet.photos.photo_objects import BinaryFile, PilImage, read_object

Image = NDArray[np.uint8]
Photo = str | Path | bytes | Image | BinaryFile | PilImage  # what `load_image` reads

MAX_PIXELS = 100_000_000  # a 100-megapixel photo decodes to 300 MB
MAX_SCANNED = 20 * MAX_PIXELS  # pixels times scans of a progressive JPEG photo, which has about 10
MAX_BYTES = 200_000_000  # a larger file is not read at all
# How the names of photos end. What a file is, is decided by its content.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".heic", ".heif", ".avif"}
)
FORMATS = "JPEG, PNG, WebP or BMP"


@contextmanager
def quiet_opencv(level: int = cv2.utils.logging.LOG_LEVEL_ERROR) -> Iterator[None]:
    """Keep OpenCV from printing messages less severe than `level` while the block runs."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(level)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


def load_image(source: Photo, name: str = "the image bytes") -> Image:
    """Return a photo as upright H x W x 3 uint8 RGB.

    `source` is a path, the bytes of a JPEG, PNG, WebP or BMP file, a file object that is open for
    reading such bytes, a PIL image, or an H x W x 3 uint8 RGB array, which is returned as it is.
    HEIC and AVIF need the extra `heif`; some builds of OpenCV read AVIF too. Gray, CMYK and 16-bit
    files become 8-bit RGB. Transparency is dropped, EXIF orientation is applied, and an animation
    gives its first frame. Width and height are read from the header and checked before anything is
    decoded. `name` stands for the bytes in error messages.

    Raises ImageError for anything else, and for a photo with more than MAX_PIXELS pixels, or more
    than MAX_SCANNED in all of its scans.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return _decode(_read(path), str(path))
    if not isinstance(source, np.ndarray | bytes | bytearray | memoryview):
        source = read_object(
            source, MAX_BYTES, lambda width, height: _check_pixels(width, height, "PIL image")
        )
    if isinstance(source, np.ndarray):
        return _check_array(source)
    return _decode(bytes(source), name)


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
        if path.is_dir():
            raise ImageError(f"{path}: expected a photo, found a folder")
        with path.open("rb") as file:  # which may be a device or pipe, without a size and an end
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImageError(f"{path!r}: cannot be read: the name has a null byte") from error
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"{path}: more bytes than the {MAX_BYTES:,} allowed; make the photo smaller first"
        )
    return data


def _decode(data: bytes, name: str) -> Image:
    if not data:
        raise ImageError(f"{name}: the file is empty")
    kind = find_format(data[:HEAD])
    image = _decode_heif(data, kind, name) if kind in (HEIC, AVIF) else _decode_raster(data, name)
    if image is None:
        raise ImageError(f"{name}: the image data is damaged or cut off")
    return image


def _decode_heif(data: bytes, kind: str, name: str) -> Image | None:
    try:
        image = decode_heif(data, kind, lambda width, height: _check_pixels(width, height, name))
    except ValueError:
        return None
    if image is None:
        raise ImageError(
            f"{name}: a photo in the format {kind}; {EXTRA} reads it, or save it as JPEG"
        )
    return image


def _decode_raster(data: bytes, name: str) -> Image | None:
    """Return the pixels of a JPEG, PNG, WebP or BMP file; None if it is damaged."""
    kind, size = find_format(data[:HEAD]), image_size(data)
    if kind in UNREAD:
        raise ImageError(
            f"{name}: a photo in the format {kind}, which is not read; save it as JPEG"
        )
    if size is None:
        raise ImageError(f"{name}: not a {FORMATS} image, or its header is damaged")
    _check_pixels(*size, name)
    if kind == JPEG:
        _check_scans(count_scans(data), *size, name)
    try:
        if kind == JPEG:
            return decode_jpeg(data, _decode_pixels)
        return None if _is_truncated(data) else _decode_pixels(data)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded: {error.err}") from error


def _decode_pixels(data: bytes) -> Image | None:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if image is None else np.asarray(image, np.uint8)


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than the {MAX_PIXELS:,} allowed; "
            "make the photo smaller first"
        )


def _check_scans(scans: int, width: int, height: int, name: str) -> None:
    if scans * width * height > MAX_SCANNED:
        raise ImageError(
            f"{name}: {scans} scans of {width} x {height} pixels are more than the "
            f"{MAX_SCANNED:,} pixels allowed; save the photo again as JPEG"
        )


def _is_truncated(data: bytes) -> bool:
    """Return whether the end of a PNG, WebP or BMP file is missing."""
    if data.startswith(b"\x89PNG"):
        return not _has_png_end(data)
    if data.startswith(b"RIFF"):
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return len(data) < int.from_bytes(data[2:6], "little")  # BMP: the header has the length


def _has_png_end(data: bytes) -> bool:
    """Return whether the chunks of a PNG file lead to its end.

    OpenCV allocates as much memory as a chunk is said to have, even if the file is shorter.
    """
    offset = 8
    for _ in range(MAX_PARTS):
        kind = data[offset + 4 : offset + 8]
        if len(kind) < 4 or kind == b"IEND":
            return kind == b"IEND"
        offset += 12 + int.from_bytes(data[offset : offset + 4], "big")
    return False
