"""Photos that are objects of a program: PIL images and files that are open for reading."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.errors import ImageError
from halnet.photos import photo_objects
from halnet.photos.images import encode_image, load_image

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
DATA = encode_image(PIXELS, ".png")


def test_a_file_object_is_read_from_its_position(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"head" + DATA)
    with open(tmp_path / "photo.png", "rb") as file:
        file.seek(4)
        np.testing.assert_array_equal(load_image(file), PIXELS)
        with pytest.raises(ImageError, match=r"photo.png: the file object is at its end; .*seek"):
            load_image(file)
    with pytest.raises(ImageError, match=r"photo.png: .* cannot be read: .*closed file"):
        load_image(file)
    np.testing.assert_array_equal(load_image(io.BytesIO(DATA)), PIXELS)


def test_a_file_object_is_binary_and_of_limited_size(tmp_path: Path) -> None:
    text: Any = io.StringIO("text")
    with pytest.raises(ImageError, match="StringIO: expected a binary .* reads str; .* mode rb"):
        load_image(text)
    with pytest.raises(ImageError, match="BytesIO: more bytes than the 8 allowed"):
        photo_objects.read_object(io.BytesIO(DATA), 8, lambda width, height: None)


def test_a_pil_image_is_a_photo() -> None:
    pil = pytest.importorskip("PIL.Image")
    np.testing.assert_array_equal(load_image(pil.fromarray(PIXELS)), PIXELS)
    np.testing.assert_array_equal(load_image(pil.open(io.BytesIO(DATA))), PIXELS)
    alpha = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 9, np.uint8)])
    np.testing.assert_array_equal(load_image(pil.fromarray(alpha)), PIXELS)
    gray = load_image(pil.fromarray(PIXELS[:, :, 0]))
    np.testing.assert_array_equal(gray, np.repeat(PIXELS[:, :, :1], 3, axis=2))


def test_a_pil_image_becomes_upright() -> None:
    pil = pytest.importorskip("PIL.Image")
    turned = pil.fromarray(PIXELS)
    turned.getexif()[274] = 6  # orientation: a quarter turn clockwise makes it upright
    np.testing.assert_array_equal(load_image(turned), np.rot90(PIXELS, -1))


def test_a_bad_pil_image_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pil = pytest.importorskip("PIL.Image")
    deep = pil.fromarray(np.zeros((4, 6), np.uint16))
    with pytest.raises(ImageError, match="expected a mode of 8 bits, .* found I;16; convert it"):
        load_image(deep)
    cut = pil.open(io.BytesIO(cv2.imencode(".jpg", np.repeat(PIXELS, 99, 0))[1].tobytes()[:-200]))
    with pytest.raises(ImageError, match="PIL image: cannot be decoded: .*truncated"):
        load_image(cut)
    monkeypatch.setattr("halnet.photos.images.MAX_PIXELS", 23)
    with pytest.raises(ImageError, match="PIL image: 6 x 4 pixels are more than the 23 allowed"):
        load_image(pil.fromarray(PIXELS))


@pytest.mark.parametrize(
    ("other", "name"),
    [(None, "NoneType"), (3, "int"), ((x for x in "ab"), "generator"), ({}, "dict")],
)
def test_anything_else_is_an_error_that_names_what_is_accepted(other: Any, name: str) -> None:
    with pytest.raises(ImageError) as error:
        load_image(other)
    assert str(error.value) == (
        "photo: expected a path, the bytes of an image file, a binary file object, a PIL image or "
        f"an H x W x 3 uint8 RGB array, found {name}; for several photos, give a list of these"
    )
