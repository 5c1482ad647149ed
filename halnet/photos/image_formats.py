"""Image formats: what a file is by its first bytes, and its width and height from its header."""

import re
import struct
from collections.abc import Callable, Iterator

HEAD = 64  # bytes at the beginning of a file that are enough for `find_format`
JPEG = "JPEG"
HEIC, AVIF = "HEIC", "AVIF"  # formats that need a library which may be missing
# Segments of a JPEG file, chunks of a PNG file, or boxes of a HEIC file that are looked at. Large
# photos have a few thousand; a file that was made to do harm can have millions.
MAX_PARTS = 100_000

_PNG, _WEBP, _BMP = "PNG", "WebP", "BMP"
_MAGIC = {  # the first bytes of each format
    b"\xff\xd8\xff": JPEG,
    b"\x89PNG\r\n\x1a\n": _PNG,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF or camera raw"),
    **dict.fromkeys((b"GIF87a", b"GIF89a"), "GIF"),
    **dict.fromkeys((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "JPEG 2000"),
    **dict.fromkeys((b"\0\0\0\x0cJXL ", b"\xff\x0a"), "JPEG XL"),
    b"8BPS": "Photoshop",
}
_BRANDS = {  # of the files that consist of boxes, as videos do
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), HEIC),
    **dict.fromkeys((b"mif1", b"msf1"), HEIC),
    b"crx ": "camera raw",
}
UNREAD = frozenset({*_MAGIC.values(), *_BRANDS.values()} - {JPEG, _PNG, HEIC, AVIF})
_MARKER = re.compile(rb"\xff([^\0\1\xd0-\xd7\xff])")  # of a JPEG segment; the others have no length
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes; "BM" alone may be the beginning of a text


def find_format(data: bytes) -> str:
    """Return the name of an image format, such as "JPEG", from the first HEAD bytes of a file.

    The name is empty if the file is not an image. It says nothing about the rest of the file.
    """
    for magic, name in _MAGIC.items():
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _WEBP
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return _BMP
    if data[4:8] == b"ftyp":  # the main brand, a version, and the brands that it is compatible with
        end = min(int.from_bytes(data[:4], "big"), HEAD)
        brands = {data[start : start + 4] for start in (8, *range(16, end, 4))}
        return next((name for brand, name in _BRANDS.items() if brand in brands), "")
    return ""


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels from the header of a JPEG, PNG, WebP or BMP file.

    Returns None for another format, and if the header is damaged.
    """
    reader = _SIZES.get(find_format(data[:HEAD]))
    try:
        size = reader(data) if reader else None
    except (struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def _png_size(data: bytes) -> tuple[int, int]:
    return struct.unpack(">II", data[16:24])


def _bmp_size(data: bytes) -> tuple[int, int]:
    if data[14] == 12:  # the header of OS/2
        return struct.unpack("<HH", data[18:22])
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
    for marker, start in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack(">HH", data[start + 3 : start + 7])
            return width, height
    return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (marker, offset of the length field) of each JPEG segment up to the end of the photo.

    As libjpeg does, it skips what lies between segments: padding, and the compressed data after the
    start of a scan (0xDA). The last one is the end of the photo (0xD9), unless it is missing.
    """
    offset = 2
    for _ in range(MAX_PARTS):
        found = _MARKER.search(data, offset)
        if found is None:
            return
        marker, offset = found[1][0], found.end()
        yield marker, offset
        if marker == 0xD9:
            return
        offset += int.from_bytes(data[offset : offset + 2], "big")


_SIZES: dict[str, Callable[[bytes], tuple[int, int] | None]] = {
    JPEG: _jpeg_size,
    _PNG: _png_size,
    _WEBP: _webp_size,
    _BMP: _bmp_size,
}
