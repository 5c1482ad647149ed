"""JPEG files that lack data, for each way in which their pixels can be compressed."""

import io
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.photos.jpeg_scan import Picture, decode_jpeg

pil = pytest.importorskip("PIL.Image")

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "progressive, fine": {"progressive": True, "quality": 95},
    "restarts": {"restart_marker_rows": 1},
}


def decode(data: bytes) -> Picture | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def portrait(border: int) -> np.ndarray:
    """Return a portrait with a flat border below it, which optimised codes make zeros of."""
    image = decode(bundled("portrait.jpg").read_bytes())
    assert image is not None
    return cv2.copyMakeBorder(image, 0, border, 0, 0, cv2.BORDER_CONSTANT, value=(250, 250, 250))


@pytest.fixture(scope="module", params=WAYS)
def jpeg(request: pytest.FixtureRequest) -> bytes:
    data = io.BytesIO()
    pil.fromarray(portrait(500)).save(data, "JPEG", **{"quality": 30, **WAYS[request.param]})
    return data.getvalue()


def test_a_whole_file_is_decoded_with_and_without_its_end(jpeg: bytes) -> None:
    picture = decode(jpeg)
    assert picture is not None
    for data in (jpeg, jpeg[:-1], jpeg[:-2], jpeg[:-2] + bytes(600), jpeg + bytes(600)):
        np.testing.assert_array_equal(decode_jpeg(data, decode), picture)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(jpeg: bytes, share: float) -> None:
    cut = jpeg[: round(share * len(jpeg))]
    assert decode_jpeg(cut, decode) is None
    assert decode_jpeg(cut + b"\xff\xd9", decode) is None


def test_a_file_that_was_cut_off_inside_a_marker_is_refused(jpeg: bytes) -> None:
    start = jpeg.rindex(b"\xff\0", 0, len(jpeg) - 3000)
    assert decode_jpeg(jpeg[: start + 1], decode) is None


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_file_whose_rest_is_zero_is_refused(jpeg: bytes, share: float) -> None:
    start = round(share * len(jpeg))
    zeros = bytes(len(jpeg) - start - 2)
    assert decode(jpeg[:start] + zeros + jpeg[-2:]) is not None  # OpenCV says nothing
    assert decode_jpeg(jpeg[:start] + zeros + jpeg[-2:], decode) is None
    assert decode_jpeg(jpeg[:start] + zeros, decode) is None


def test_a_flat_picture_is_not_taken_for_a_damaged_one() -> None:
    for gray in (128, 250):
        data = io.BytesIO()
        pil.fromarray(np.full((512, 512, 3), gray, np.uint8)).save(data, "JPEG", optimize=True)
        assert bytes(256) in data.getvalue()
        assert decode_jpeg(data.getvalue(), decode) is not None


class Count:
    """Decodes files, and counts how often."""

    calls = 0

    def __call__(self, data: bytes) -> Picture | None:
        self.calls += 1
        return decode(data)


def test_an_intact_photo_is_decoded_once() -> None:
    count = Count()
    assert decode_jpeg(bundled("portrait.jpg").read_bytes(), count) is not None
    assert count.calls == 1


def test_a_damaged_photo_is_decoded_four_times_at_most(jpeg: bytes) -> None:
    """Each time takes a second for the largest photos."""
    count = Count()
    assert decode_jpeg(jpeg[: len(jpeg) // 3] + bytes(len(jpeg)), count) is None
    assert count.calls <= 4


@pytest.mark.parametrize("data", [b"\xff\xd8\xff", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xe0\0"])
def test_a_file_without_a_scan_is_refused(data: bytes) -> None:
    assert decode_jpeg(data, decode) is None
