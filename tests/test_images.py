import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.errors import ImageError
from halnet.images import image_size, load_image

RED, BLUE = (200, 30, 20), (20, 30, 200)


def half_and_half(height: int = 40, width: int = 64) -> np.ndarray:
    """Left half red, right half blue, RGB."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = RED, BLUE
    return image


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    if image.ndim == 3:
        image = image[:, :, [2, 1, 0, *range(3, image.shape[2])]]
    return cv2.imencode(suffix, image)[1].tobytes()


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment with the orientation tag behind the start marker."""
    tiff = b"II*\x00" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_every_format_gives_rgb(suffix: str) -> None:
    data = encode(half_and_half(), suffix)
    assert image_size(data) == (64, 40)
    image = load_image(data)
    assert image.shape == (40, 64, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[20, 8], RED, atol=12)
    np.testing.assert_allclose(image[20, 56], BLUE, atol=12)


def test_path_and_array(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encode(half_and_half()))
    np.testing.assert_array_equal(load_image(str(path)), half_and_half())
    np.testing.assert_array_equal(load_image(half_and_half()), half_and_half())


def test_gray_becomes_rgb() -> None:
    gray = np.full((8, 9), 77, np.uint8)
    np.testing.assert_array_equal(load_image(encode(gray)), np.full((8, 9, 3), 77))


def test_16_bit_becomes_8_bit() -> None:
    deep = half_and_half().astype(np.uint16) * 257
    np.testing.assert_array_equal(load_image(encode(deep)), half_and_half())


def test_transparency_is_dropped() -> None:
    alpha = np.dstack([half_and_half(), np.full((40, 64), 128, np.uint8)])
    np.testing.assert_array_equal(load_image(encode(alpha)), half_and_half())


def test_cmyk_jpeg() -> None:
    pil = pytest.importorskip("PIL.Image")
    import io

    data = io.BytesIO()
    pil.fromarray(half_and_half()).convert("CMYK").save(data, "JPEG", quality=95)
    image = load_image(data.getvalue())
    np.testing.assert_allclose(image[20, 8], RED, atol=15)
    np.testing.assert_allclose(image[20, 56], BLUE, atol=15)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    animation = cv2.Animation()
    animation.frames = [half_and_half()[:, :, ::-1].copy(), np.zeros((40, 64, 3), np.uint8)]
    animation.durations = np.array([100, 100])
    for suffix in (".webp", ".png"):
        data = cv2.imencodeanimation(suffix, animation)[1].tobytes()
        image = load_image(data)
        np.testing.assert_allclose(image[20, 8], RED, atol=25, err_msg=suffix)


@pytest.mark.parametrize(
    ("orientation", "top_left", "top_right", "shape"),
    [
        (1, RED, BLUE, (40, 64)),
        (3, BLUE, RED, (40, 64)),
        (6, RED, RED, (64, 40)),
        (8, BLUE, BLUE, (64, 40)),
    ],
)
def test_exif_orientation(
    orientation: int,
    top_left: tuple[int, ...],
    top_right: tuple[int, ...],
    shape: tuple[int, ...],
) -> None:
    image = load_image(with_orientation(encode(half_and_half(), ".jpg"), orientation))
    assert image.shape[:2] == shape
    np.testing.assert_allclose(image[4, 4], top_left, atol=15)
    np.testing.assert_allclose(image[4, -5], top_right, atol=15)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_truncated_files_are_refused(suffix: str) -> None:
    rng = np.random.default_rng(0)
    data = encode(rng.integers(0, 256, (64, 64, 3), np.uint8), suffix)
    for share in (0.9, 0.5, 0.05):
        with pytest.raises(ImageError):
            load_image(data[: int(len(data) * share)])


def test_truncated_jpeg_with_a_whole_thumbnail_is_refused() -> None:
    thumbnail = encode(half_and_half(), ".jpg")
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    rng = np.random.default_rng(0)
    photo = encode(rng.integers(0, 256, (64, 64, 3), np.uint8), ".jpg")
    whole = photo[:2] + segment + photo[2:]
    assert load_image(whole).shape == (64, 64, 3)
    with pytest.raises(ImageError, match="damaged or cut off"):
        load_image(whole[:-200])


def test_what_is_no_photo_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("not a photo")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for source, message in (
        (tmp_path / "missing.jpg", "missing.jpg: cannot be read: No such file"),
        (empty, "empty.jpg: the file is empty"),
        (text, "not a JPEG, PNG, WebP or BMP image"),
        (tmp_path, "expected a photo, found a folder"),
        (np.zeros((4, 4), np.uint8), "H x W x 3 uint8 RGB, got uint8 of shape"),
        (np.zeros((4, 4, 3), np.float32), "H x W x 3 uint8 RGB, got float32"),
        (np.zeros((0, 4, 3), np.uint8), "H x W x 3 uint8 RGB"),
    ):
        with pytest.raises(ImageError, match=message):
            load_image(source)


def test_the_pixel_bound_is_checked_before_decoding() -> None:
    """A PNG of 300 bytes that claims 60000 x 60000 pixels, 10.8 GB once decoded."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk)) + b"\x00" * 200
    with pytest.raises(ImageError, match=r"60000 x 60000 pixels are more than the 100,000,000"):
        load_image(bomb)
    with pytest.raises(ImageError, match="64 x 40 pixels are more than the 2,000"):
        load_image(encode(half_and_half(), ".jpg"), max_pixels=2000)
    with pytest.raises(ImageError, match="64 x 40 pixels"):
        load_image(half_and_half(), max_pixels=2000)
