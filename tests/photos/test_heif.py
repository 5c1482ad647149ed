"""HEIC and AVIF photos: upright, of limited size, and an error with a cure without a reader."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.errors import ImageError
from halnet.photos import heif, images
from halnet.photos.heif import can_read_heif
from halnet.photos.image_formats import MAX_PARTS
from halnet.photos.images import load_image

pil = pytest.importorskip("PIL.Image")
FORMATS = {"HEIC": "HEIF", "AVIF": "AVIF"}  # the names that Pillow gives them
RED, BLUE = (200, 30, 20), (20, 30, 200)
ORIENTATION = 0x0112  # number of the EXIF tag


def encode(kind: str, orientation: int = 1) -> bytes:
    """Return a photo of 64 x 40 pixels before it is turned, whose left half is red."""
    if kind == "HEIC":
        pytest.importorskip("pillow_heif").register_heif_opener()
    image = np.empty((40, 64, 3), np.uint8)
    image[:, :32], image[:, 32:] = RED, BLUE
    exif = pil.Exif()
    exif[ORIENTATION] = orientation
    data = io.BytesIO()
    pil.fromarray(image).save(data, FORMATS[kind], quality=95, exif=exif.tobytes())
    return data.getvalue()


@pytest.fixture
def without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "_pillow_reads", lambda kind: False)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("orientation", "top_left", "bottom_right", "shape"),
    [(1, RED, BLUE, (40, 64, 3)), (6, RED, BLUE, (64, 40, 3)), (8, BLUE, RED, (64, 40, 3))],
)
def test_a_photo_is_upright(
    kind: str,
    orientation: int,
    top_left: tuple[int, ...],
    bottom_right: tuple[int, ...],
    shape: tuple[int, ...],
) -> None:
    image = load_image(encode(kind, orientation))
    assert (image.shape, image.dtype, image.flags.writeable) == (shape, np.uint8, True)
    np.testing.assert_allclose(image[4, 4], top_left, atol=15)
    np.testing.assert_allclose(image[-5, -5], bottom_right, atol=15)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_photo_that_was_cut_off_is_refused(kind: str, share: float) -> None:
    data = encode(kind)
    with pytest.raises(ImageError, match="the image bytes: the image data is damaged or cut off$"):
        load_image(data[: max(64, int(len(data) * share))])


@pytest.mark.parametrize("kind", FORMATS)
def test_the_pixels_are_counted_before_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(kind)
    monkeypatch.setattr(images, "MAX_PIXELS", 2000)
    monkeypatch.setattr(heif, "_decode_with_pillow", lambda data, kind: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="pixels are more than the 2,000 allowed"):
        load_image(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_very_many_boxes_are_not_looked_at(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(kind)
    monkeypatch.setattr(heif, "MAX_PARTS", 2)  # the boxes ftyp and meta
    assert load_image(data).size
    monkeypatch.setattr(heif, "MAX_PARTS", 1)
    with pytest.raises(ImageError, match="damaged"):
        load_image(data)


def test_very_many_sizes_in_a_header_are_not_looked_at() -> None:
    photo = encode("HEIC")
    start = photo[: photo.index(b"meta") - 4]
    for count, problem in ((0, "no size"), (MAX_PARTS + 1, "too many sizes")):
        sizes = b"ispe" * count
        data = start + (len(sizes) + 8).to_bytes(4, "big") + b"meta" + sizes
        with pytest.raises(ValueError, match=problem):
            heif.decode_heif(data, "HEIC", lambda width, height: None)


@pytest.mark.usefixtures("without_pillow")
def test_heic_without_pillow_heif_names_the_cure(tmp_path: Path) -> None:
    assert not can_read_heif("HEIC")
    (tmp_path / "photo.jpg").write_bytes(encode("HEIC"))
    message = r"photo.jpg: a photo in the format HEIC; pip install 'halnet\[heif\]' reads it, or"
    with pytest.raises(ImageError, match=message):
        load_image(tmp_path / "photo.jpg")


@pytest.mark.usefixtures("without_pillow")
@pytest.mark.skipif(
    not heif._opencv_reads_avif(), reason=f"OpenCV {cv2.__version__} was built without AVIF"
)
def test_opencv_reads_avif_unless_it_is_turned() -> None:
    assert can_read_heif("AVIF")
    np.testing.assert_allclose(load_image(encode("AVIF"))[4, 4], RED, atol=15)
    with pytest.raises(ImageError, match="format AVIF; pip install"):
        load_image(encode("AVIF", 6))
    with pytest.raises(ImageError, match="damaged or cut off"):
        load_image(encode("AVIF")[:-20])
