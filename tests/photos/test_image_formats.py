import struct

import pytest

from halnet.photos.image_formats import UNREAD, find_format, image_size, jpeg_segments


def boxes(brand: bytes, *others: bytes) -> bytes:
    """Return the beginning of a file that consists of boxes."""
    body = b"ftyp" + brand + bytes(4) + b"".join(others)
    return struct.pack(">I", len(body) + 4) + body + b"mdat"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff\xd8\xff\xe1", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"RIFF\0\0\0\0AVI LIST", ""),
        (b"BM" + bytes(12) + struct.pack("<I", 40), "BMP"),
        (b"BMW: a list of cars", ""),
        (b"II*\0", "TIFF or camera raw"),
        (b"GIF89a", "GIF"),
        (boxes(b"heic", b"mif1"), "HEIC"),
        (boxes(b"mif1", b"heic"), "HEIC"),
        (boxes(b"mif1", b"miaf", b"avif"), "AVIF"),
        (boxes(b"crx ", b"isom"), "camera raw"),
        (boxes(b"isom", b"mp42"), ""),  # a video
        (b"", ""),
        (b"some text", ""),
    ],
)
def test_the_first_bytes_tell_the_format(data: bytes, expected: str) -> None:
    assert find_format(data) == expected


def test_formats_that_are_read_are_not_among_the_others() -> None:
    assert not UNREAD & {"JPEG", "PNG", "WebP", "BMP", "HEIC", "AVIF"}
    assert {"GIF", "TIFF or camera raw", "camera raw", "JPEG XL", "JPEG 2000"} <= UNREAD


def test_both_headers_of_bmp_state_the_size() -> None:
    new = b"BM" + bytes(12) + struct.pack("<Iii", 40, 30, -20)
    old = b"BM" + bytes(12) + struct.pack("<IHH", 12, 30, 20)
    assert image_size(new) == image_size(old) == (30, 20)


def test_segments_of_a_jpeg_are_found_behind_padding_and_in_all_scans() -> None:
    frame = b"\xc0\0\x0b\x08\0\x14\0\x1e\1\1\x11\0"
    scan = b"\xff\xda\0\3\xda" + b"data\xff\0\xff\xd0data"
    data = b"\xff\xd8" + b"\xff" * 100_000 + frame + scan + scan + b"\xff\xd9" + scan
    assert [marker for marker, _ in jpeg_segments(data)] == [0xC0, 0xDA, 0xDA, 0xD9]
    assert image_size(data) == (30, 20)
