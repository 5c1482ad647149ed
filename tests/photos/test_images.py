import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.errors import ImageError
from halnet.photos import images
from halnet.photos.image_formats import MAX_PARTS, image_size
from halnet.photos.images import encode_image, load_image

RED, BLUE = (200, 30, 20), (20, 30, 200)


def half_and_half(height: int = 40, width: int = 64) -> np.ndarray:
    """Return an RGB image whose left half is red and whose right half is blue."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = RED, BLUE
    return image


def encode(image: np.ndarray, suffix: str = ".png") -> bytes:
    if image.ndim == 3:
        image = image[:, :, [2, 1, 0, *range(3, image.shape[2])]]
    return cv2.imencode(suffix, image)[1].tobytes()


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment with the orientation tag after the start marker."""
    tiff = b"II*\x00" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_every_format_becomes_rgb(suffix: str) -> None:
    data = encode(half_and_half(), suffix)
    assert image_size(data) == (64, 40)
    image = load_image(data)
    assert image.shape == (40, 64, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[20, 8], RED, atol=12)
    np.testing.assert_allclose(image[20, 56], BLUE, atol=12)


def test_a_path_and_an_array_give_the_same_pixels(tmp_path: Path) -> None:
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


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    pil = pytest.importorskip("PIL.Image")
    import io

    data = io.BytesIO()
    pil.fromarray(half_and_half()).convert("CMYK").save(data, "JPEG", quality=95)
    image = load_image(data.getvalue())
    np.testing.assert_allclose(image[20, 8], RED, atol=15)
    np.testing.assert_allclose(image[20, 56], BLUE, atol=15)


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_an_animation_gives_its_first_frame(suffix: str) -> None:
    animation = cv2.Animation()
    animation.frames = [half_and_half()[:, :, ::-1].copy(), np.zeros((40, 64, 3), np.uint8)]
    animation.durations = np.array([100, 100])
    image = load_image(cv2.imencodeanimation(suffix, animation)[1].tobytes())
    np.testing.assert_allclose(image[20, 8], RED, atol=25)


@pytest.mark.parametrize(
    ("orientation", "top_left", "top_right", "shape"),
    [
        (1, RED, BLUE, (40, 64)),
        (3, BLUE, RED, (40, 64)),
        (6, RED, RED, (64, 40)),
        (8, BLUE, BLUE, (64, 40)),
    ],
)
def test_exif_orientation_is_applied(
    orientation: int,
    top_left: tuple[int, ...],
    top_right: tuple[int, ...],
    shape: tuple[int, ...],
) -> None:
    image = load_image(with_orientation(encode(half_and_half(), ".jpg"), orientation))
    assert image.shape[:2] == shape
    np.testing.assert_allclose(image[4, 4], top_left, atol=15)
    np.testing.assert_allclose(image[4, -5], top_right, atol=15)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.05])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_truncated_files_are_refused(suffix: str, share: float) -> None:
    rng = np.random.default_rng(0)
    data = encode(rng.integers(0, 256, (64, 64, 3), np.uint8), suffix)
    with pytest.raises(ImageError, match="damaged"):
        load_image(data[: int(len(data) * share)])


def test_a_truncated_jpeg_with_a_complete_thumbnail_is_refused() -> None:
    thumbnail = encode(half_and_half(), ".jpg")
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    rng = np.random.default_rng(0)
    photo = encode(rng.integers(0, 256, (64, 64, 3), np.uint8), ".jpg")
    whole = photo[:2] + segment + photo[2:]
    assert load_image(whole).shape == (64, 64, 3)
    with pytest.raises(ImageError, match="damaged or cut off"):
        load_image(whole[:-200])


def test_a_png_chunk_longer_than_the_file_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV would allocate 2 GB."""
    data = encode(half_and_half())
    start = data.index(b"IDAT") - 4
    monkeypatch.setattr(images, "_decode_pixels", lambda data: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="damaged or cut off"):
        load_image(data[:start] + struct.pack(">I", 2**31 - 1) + data[start + 4 :])


def test_a_jpeg_without_its_end_marker_is_read() -> None:
    """Panoramas of some phones lack it."""
    whole = with_orientation(encode(half_and_half(), ".jpg"), 6)
    assert whole.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(load_image(whole[:-2]), load_image(whole))


def test_a_jpeg_with_zeros_in_the_place_of_its_second_half_is_refused() -> None:
    data = encode(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), ".jpg")
    middle = len(data) // 2
    with pytest.raises(ImageError, match="damaged or cut off"):
        load_image(data[:middle] + bytes(len(data) - middle - 2) + data[-2:])


@pytest.mark.parametrize("name", ["photo.jfif", "photo.jpe", "photo.MPO", "photo.txt", "photo"])
def test_the_content_of_a_file_decides_what_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encode(half_and_half(), ".jpg"))
    assert load_image(tmp_path / name).shape == (40, 64, 3)


def test_a_device_without_an_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    with pytest.raises(ImageError, match="/dev/zero: more bytes than the 1,000 allowed"):
        load_image("/dev/zero")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raw.jpg", "raw.jpg: a photo in the format TIFF or camera raw, which is not read; save"),
        ("two\0parts.jpg", "cannot be read: the name has a null byte"),
        ("n" * 300, "cannot be read: File name too long"),
        ("missing.jpg", "missing.jpg: cannot be read: No such file"),
        ("empty.jpg", "empty.jpg: the file is empty"),
        ("notes.jpg", "notes.jpg: not a JPEG, PNG, WebP or BMP image"),
        ("folder.jpg", "folder.jpg: expected a photo, found a folder"),
    ],
)
def test_paths_that_are_not_photos_are_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "raw.jpg").write_bytes(b"II*\0" + bytes(60))
    (tmp_path / "notes.jpg").write_text("not a photo")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(ImageError, match=message):
        load_image(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 of shape \(4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 of shape \(0, 4, 3\)"),
    ],
)
def test_arrays_that_are_not_photos_are_refused(array: np.ndarray, found: str) -> None:
    with pytest.raises(ImageError, match=f"expected H x W x 3 uint8 RGB, found {found}"):
        load_image(array)


def test_the_number_of_pixels_is_checked_before_decoding() -> None:
    """The header of this PNG of 300 bytes states 60000 x 60000 pixels, 10.8 GB when decoded."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    bomb += struct.pack(">I", zlib.crc32(chunk)) + b"\x00" * 200
    with pytest.raises(ImageError, match=r"60000 x 60000 pixels are more than the 100,000,000"):
        load_image(bomb)


def test_a_jpeg_with_very_many_scans_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scan goes over all pixels, and takes only a few bytes."""
    data = cv2.imencode(".jpg", half_and_half(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1].tobytes()
    last = data.rindex(b"\xff\xda")
    monkeypatch.setattr(images, "MAX_SCANNED", 64 * 40 * 15)
    for added, ending in ((5, b""), (0, data[last:] * 100)):  # what follows the photo is not a scan
        assert load_image(data[:-2] + data[last:-2] * added + b"\xff\xd9" + ending).size
    with pytest.raises(ImageError, match="16 scans of 64 x 40 pixels are more than the 38,400"):
        load_image(data[:-2] + data[last:-2] * 6 + b"\xff\xd9")


@pytest.mark.parametrize(
    ("start", "part", "end"),
    [
        (b"\xff\xd8", b"\xff\xe0\0\2", encode(half_and_half(), ".jpg")[2:]),
        (encode(half_and_half())[:33], b"\0\0\0\0teXt\0\0\0\0", encode(half_and_half())[33:]),
    ],
)
def test_very_many_parts_of_a_file_are_not_looked_at(start: bytes, part: bytes, end: bytes) -> None:
    """They would take seconds, for nothing."""
    assert load_image(start + end).shape == (40, 64, 3)
    with pytest.raises(ImageError, match="damaged"):
        load_image(start + part * MAX_PARTS + end)


@pytest.mark.parametrize("source", [encode(half_and_half(), ".jpg"), half_and_half()])
def test_a_photo_with_more_pixels_than_allowed_is_refused(
    source: bytes | np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 40 - 1)
    with pytest.raises(ImageError, match="64 x 40 pixels are more than the 2,559"):
        load_image(source)
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 40)
    assert load_image(source).shape == (40, 64, 3)


def test_a_file_with_more_bytes_than_allowed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photo.png").write_bytes(encode(half_and_half()))
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match="more bytes than the 100 allowed"):
        load_image(tmp_path / "photo.png")


@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".jpg", 12)])
def test_an_encoded_image_is_read_back(suffix: str, tolerance: int) -> None:
    image = load_image(encode_image(half_and_half(), suffix))
    np.testing.assert_allclose(image[20, 8], RED, atol=tolerance)
    np.testing.assert_allclose(image[20, 56], BLUE, atol=tolerance)
