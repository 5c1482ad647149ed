"""HEIC and AVIF photos, which need a library that may be missing.

pillow-heif and Pillow, the extra `heif`, read both. OpenCV reads AVIF in some of its builds, but
does not turn a photo upright as its file says.
"""

import io
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.photos.image_formats import AVIF, HEIC, MAX_PARTS

Picture = NDArray[np.uint8]
CheckSize = Callable[[int, int], None]
EXTRA = "pip install 'halnet[heif]'"
_TURNS = (b"irot", b"imir")  # parts of a file that say how the photo is turned or mirrored
_SIZE = b"ispe"  # part of a file with the size of a picture in it


def can_read_heif(kind: str) -> bool:
    """Return whether photos of the format HEIC or AVIF can be read here."""
    return _pillow_reads(kind) or (kind == AVIF and _opencv_reads_avif())


def decode_heif(data: bytes, kind: str, check_size: CheckSize) -> Picture | None:
    """Return a HEIC or AVIF photo as upright H x W x 3 uint8 RGB.

    `check_size` is called with the width and height in pixels that the header states, before
    anything is decoded. Returns None if no library that can read the photo is installed. Raises
    ValueError for a damaged file.
    """
    header = _header(data)
    found = islice(re.finditer(_SIZE, header), MAX_PARTS + 1)
    sizes = [header[match.end() + 4 : match.end() + 12] for match in found]
    if not sizes:
        raise ValueError("the header states no size")
    if len(sizes) > MAX_PARTS:
        raise ValueError("the header states too many sizes")
    for size in sizes:  # of the photo, its tiles and its thumbnails
        check_size(int.from_bytes(size[:4], "big"), int.from_bytes(size[4:], "big"))
    if _pillow_reads(kind):
        return _decode_with_pillow(data, kind)
    if kind == HEIC or not _opencv_reads_avif() or any(turn in header for turn in _TURNS):
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("OpenCV cannot decode it")
    return np.asarray(image, np.uint8)


def _header(data: bytes) -> bytes:
    """Return the box "meta" of a file, or nothing if there is none."""
    start = 0
    for _ in range(MAX_PARTS):
        head = data[start : start + 8]
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"meta":
            return data[start : start + length]
        if length < 8:  # the last box, or one that is too long for a photo
            break
        start += length
    return b""


def _decode_with_pillow(data: bytes, kind: str) -> Picture:
    from PIL import Image, ImageOps

    try:
        if kind == HEIC:
            from pillow_heif import open_heif

            photo = open_heif(data).to_pillow()  # it is upright already
        else:
            photo = ImageOps.exif_transpose(Image.open(io.BytesIO(data), formats=("AVIF",)))
        return np.array(photo.convert("RGB"), np.uint8)
    except (OSError, EOFError, LookupError, RuntimeError, SyntaxError) as error:  # of damaged files
        raise ValueError(str(error)) from error


@cache
def _pillow_reads(kind: str) -> bool:
    if kind == HEIC:
        return find_spec("pillow_heif") is not None
    if find_spec("PIL") is None:
        return False
    from PIL import features

    return "avif" in features.modules and bool(features.check("avif"))


@cache
def _opencv_reads_avif() -> bool:
    return re.search(r"AVIF: +(?!NO)\S", cv2.getBuildInformation()) is not None
