"""Images: from a path or the bytes of a file to upright RGB pixels of limited size."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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
REDUCED = {  # what width and height are divided by, and the flag of OpenCV for it
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@contextmanager
def quiet_opencv(level: int = cv2.utils.logging.LOG_LEVEL_ERROR) -> Iterator[None]:
    """Keep OpenCV from printing messages less severe than `level` while the block runs."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(level)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)


@dataclass(frozen=True, eq=False)
class OpenedPhoto:
    """A photo whose file was read and whose header was checked, before its pixels are decoded."""

    sides: tuple[int, int]  # pixels: width and height in the file, in any order
    scales: tuple[int, ...]  # what `decode` can divide both sides by, with no rest; 1 is one
    _decode: Callable[[int], Image]

    def decode(self, scale: int = 1) -> Image:
        """Return the photo as upright H x W x 3 uint8 RGB, made smaller by one of `scales`.

        Raises ImageError if the pixels are damaged.
        """
        return self._decode(scale)


def open_photo(source: Photo, name: str = "the image bytes") -> OpenedPhoto:
    """Return a photo, ready to be decoded. The arguments are those of `load_image`.

    Only JPEG files can be decoded to smaller pictures, which saves most of the time.

    Raises ImageError for what is no photo, and for one that is too large.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return _open_file(_read(path), str(path))
    if not isinstance(source, np.ndarray | bytes | bytearray | memoryview):
        source = read_object(
            source, MAX_BYTES, lambda width, height: _check_pixels(width, height, "PIL image")
        )
    if isinstance(source, np.ndarray):
        return _opened(_check_array(source))
    return _open_file(bytes(source), name)


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
    return open_photo(source, name).decode()


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
    check_bytes(len(data), str(path))
    return data


def check_bytes(count: int, name: str) -> None:
    """Raise ImageError if a file of so many bytes is larger than MAX_BYTES."""
    if count > MAX_BYTES:
        raise ImageError(
            f"{name}: more bytes than the {MAX_BYTES:,} allowed; make the photo smaller first"
        )


def _opened(image: Image) -> OpenedPhoto:
    """Return an opened photo for pixels that are decoded already."""
    return OpenedPhoto(image.shape[1::-1], (1,), lambda scale: image)


def _open_file(data: bytes, name: str) -> OpenedPhoto:
    if not data:
        raise ImageError(f"{name}: the file is empty")
    kind = find_format(data[:HEAD])
    if kind in (HEIC, AVIF):
        return _opened(_whole(_decode_heif(data, kind, name), name))
    return _open_raster(data, kind, name)


def _whole(image: Image | None, name: str) -> Image:
    """Return an image; ImageError if there is none, because its data are damaged."""
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


def _open_raster(data: bytes, kind: str, name: str) -> OpenedPhoto:
    """Return a JPEG, PNG, WebP or BMP file, after a check of its header."""
    size = image_size(data)
    if kind in UNREAD:
        raise ImageError(
            f"{name}: a photo in the format {kind}, which is not read; save it as JPEG"
        )
    if size is None:
        raise ImageError(f"{name}: not a {FORMATS} image, or its header is damaged")
    _check_pixels(*size, name)
    if kind == JPEG:
        _check_scans(count_scans(data), *size, name)

    def decode(scale: int) -> Image:
        pixels = partial(_decode_pixels, flag=REDUCED[scale])
        try:
            if kind == JPEG:
                return _whole(decode_jpeg(data, pixels), name)
            return _whole(None if _is_truncated(data) else pixels(data), name)
        except cv2.error as error:
            raise ImageError(f"{name}: cannot be decoded: {error.err}") from error

    # With a rest, the last pixels would be partly filling, on the side where EXIF puts them.
    exact = (scale for scale in REDUCED if not (size[0] % scale or size[1] % scale))
    return OpenedPhoto(size, tuple(exact) if kind == JPEG else (1,), decode)


def _decode_pixels(data: bytes, flag: int) -> Image | None:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if image is None:
        return None
    if flag != cv2.IMREAD_COLOR_RGB:  # OpenCV decodes smaller pictures as BGR only
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, image)
    return np.asarray(image, np.uint8)


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
