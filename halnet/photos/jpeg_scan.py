"""JPEG scan: whether the compressed data of a JPEG file are enough for all of its pixels.

OpenCV does not pass on what its JPEG decoder reports. If data are lost, the decoder fills the rest
of the picture with gray, and says nothing. This module asks it in another way: it decodes a copy of
the file with other data at the place in question. If the picture is the same, the decoder did not
use them. Only files that look damaged are decoded a second time.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from halnet.photos.image_formats import jpeg_segments

Picture = NDArray[np.uint8]
Decode = Callable[[bytes], Picture | None]

END = b"\xff\xd9"  # the marker at the end of a file
SCAN = 0xDA  # the marker at the start of a scan
FILL = 128  # the gray value of pixels whose data are lost
ZEROS = bytes(256)  # longer than the zeros in almost all intact files
ZERO_RUNS = re.compile(rb"\0{256,}")
FEW = 8  # bytes
_NOISE = bytes(73 * i % 250 for i in range(1, 250))
# Data that no decoder takes for gray, with the markers that some files have between their parts.
FILLER = _NOISE * 4 + b"".join(_NOISE + bytes((0xFF, 0xD0 + i % 8)) for i in range(16))


def decode_jpeg(data: bytes, decode: Decode) -> Picture | None:
    """Return what `decode` makes of a JPEG file: H x W x 3 uint8.

    A missing end marker is added, since some phones leave it out. Returns None if the file cannot
    be decoded, or if it lacks the data of a part of its picture: they end too early, or a long part
    of them is zero, as on a damaged disk.
    """
    start = _scan_start(data)
    end = data.find(END, start)
    if end >= 0:
        return _decode_whole(data, start, end, decode)
    return _decode_whole(data + END, start, len(data), decode, is_suspicious=True)


def _decode_whole(
    data: bytes, start: int, end: int, decode: Decode, is_suspicious: bool = False
) -> Picture | None:
    """Return the picture of a file with an end marker; None if it lacks data.

    The compressed data are between `start` and `end`. A file that is not suspicious, and does not
    look damaged either, is decoded once.
    """
    picture = decode(data)
    if picture is None:
        return None
    has_zeros, is_gray = data.find(ZEROS, start, end) >= 0, _ends_gray(picture)
    if not (is_suspicious or has_zeros or is_gray):
        return picture
    # If the filler changes the picture, the decoder had come to the end of the data before.
    if _changes(picture, decode, data[:end].rstrip(b"\xff") + FILLER + data[end:]):
        return None
    if has_zeros and not is_gray:  # the zeros of a gray picture may be its data
        run = max(ZERO_RUNS.finditer(data, start, end), key=lambda run: len(run[0]))
        first, last = (
            data[:place] + FILLER + data[run.end() :]
            for place in (run.start() + FEW, run.end() - FEW)
        )
        # Data are lost if the last zeros belong to no pixel, but the first ones do. In a fine
        # progressive file, the zeros of a flat area may be too small a part of its colour to count.
        if not _changes(picture, decode, last) and _changes(picture, decode, first):
            return None
    return picture


def _changes(picture: Picture, decode: Decode, data: bytes) -> bool:
    other = decode(data)
    return other is None or not np.array_equal(other, picture)


def count_scans(data: bytes) -> int:
    """Return the number of scans: 1, or about 10 in a progressive file. Each is of all pixels."""
    return sum(marker == SCAN for marker, _ in jpeg_segments(data))


def _scan_start(data: bytes) -> int:
    """Return where the first scan starts; the end of the file if it has none."""
    starts = (start for marker, start in jpeg_segments(data) if marker == SCAN)
    return next(starts, len(data))


def _ends_gray(picture: Picture) -> bool:
    """Return whether a corner is gray: the last pixel, wherever EXIF orientation puts it."""
    corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
    return bool((corners == FILL).all(axis=1).any())
