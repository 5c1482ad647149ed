import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halnet.photos.images import load_image

# An EXIF block that says that the photo is turned by 90 degrees.
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    """Small files of each format that is read."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image = cv2.resize(image, (28, 20), interpolation=cv2.INTER_CUBIC)
    jpeg = _encode(image, ".jpg")
    return [
        *(jpeg, jpeg[:2] + b"\xff\xe1" + (len(EXIF) + 2).to_bytes(2, "big") + EXIF + jpeg[2:]),
        _encode(image, ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        _encode(image, ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        *(_encode(image, ".png"), _encode((image * 257.0).astype(np.uint16), ".png")),
        *(_encode(image, ".bmp"), _encode(image[:, :, 0], ".png")),
        *(_encode(image, ".webp"), _encode(image, ".webp", cv2.IMWRITE_WEBP_QUALITY, 101)),
        *_heif_photos(image),
    ]


def _encode(image: Any, suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def _heif_photos(image: Any) -> list[bytes]:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow = pytest.importorskip("PIL.Image")
    heic, avif = io.BytesIO(), io.BytesIO()
    pillow_heif.from_pillow(pillow.fromarray(image)).save(heic, format="HEIF")
    pillow.fromarray(image).save(avif, format="AVIF")
    return [heic.getvalue(), avif.getvalue()]


@given(data=st.data())
def test_images(data: Any, fuzz: Any, photos: list[bytes]) -> None:
    path = fuzz.folder / "photo"
    path.write_bytes(data.draw(fuzz.bytes(*photos)))
    with fuzz.only_own_errors():
        image = load_image(path)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.size
