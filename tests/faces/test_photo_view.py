"""Photos that are decoded only as large as their faces need them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet import Predictor
from halnet.benchmarks.samples import portrait
from halnet.errors import ImageError
from halnet.faces.alignment import align
from halnet.faces.detected import DetectedFace
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import Image, OpenedPhoto, encode_image, load_image, open_photo

PORTRAIT, FACE = portrait()


def enlarged(factor: float) -> Image:
    return np.asarray(cv2.resize(PORTRAIT, None, fx=factor, fy=factor), np.uint8)


def jpeg(image: Image, orientation: int | None = None) -> bytes:
    """Return a JPEG file, with an EXIF orientation if one is given."""
    data = encode_image(image, ".jpg")
    if orientation is None:
        return data
    entry = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
    segment = b"Exif\0\0" + entry
    return data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]


class Decoded:
    """Counts what is decoded of a photo: its scales in order."""

    def __init__(self, data: bytes) -> None:
        self.scales: list[int] = []
        opened = open_photo(data)

        def decode(scale: int) -> Image:
            self.scales.append(scale)
            return opened.decode(scale)

        self.view = PhotoView(OpenedPhoto(opened.sides, opened.scales, decode))


class Shrinking:
    """A detector that needs no more than 640 pixels, and keeps the photos that it gets."""

    detection_side = 640

    def __init__(self, *faces: DetectedFace) -> None:
        self.faces = faces
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, photo: Image) -> tuple[DetectedFace, ...]:
        self.shapes.append(photo.shape)
        return self.faces


@pytest.mark.parametrize(
    ("shape", "scale"),
    [((600, 400), 1), ((1279, 900), 1), ((1280, 900), 2), ((3000, 4000), 4), ((904, 5120), 8)]
    + [((3000, 4001), 1), ((3002, 4000), 2)],  # decoded smaller, the last pixels would be filling
)
def test_the_detector_gets_the_smallest_photo_that_it_needs(
    shape: tuple[int, int], scale: int
) -> None:
    view = PhotoView(jpeg(np.full((*shape, 3), 90, np.uint8)))
    detect = Shrinking()
    assert view.detect(detect) == ()
    height, width = (side // scale for side in shape)
    assert detect.shapes == [(height, width, 3)]
    assert view.size == shape[::-1]


def test_a_detector_that_does_not_shrink_photos_gets_the_whole_photo() -> None:
    shapes = []

    def detect(photo: Image) -> list[DetectedFace]:
        shapes.append(photo.shape)
        return []

    PhotoView(jpeg(np.zeros((1600, 1200, 3), np.uint8))).detect(detect)
    assert shapes == [(1600, 1200, 3)]


def test_faces_are_in_pixels_of_the_whole_photo() -> None:
    face = DetectedFace((10, 20, 30, 40), np.arange(10).reshape(5, 2), 0.9)
    view = PhotoView(jpeg(np.zeros((3000, 4000, 3), np.uint8)))
    (found,) = view.detect(Shrinking(face), min_face=120)
    assert found.box == pytest.approx((40, 80, 120, 160))
    np.testing.assert_allclose(found.landmarks, 4 * face.landmarks)
    assert view.detect(Shrinking(face), min_face=120.5) == ()


@pytest.mark.parametrize(
    ("size", "scale"), [(1.0, 1), (2.5, 1), (3.0, 2), (5.0, 2), (6.0, 4), (11.0, 8)]
)
def test_a_crop_gets_a_pixel_of_the_photo_for_each_of_its_own(size: float, scale: int) -> None:
    """The portrait has 0.74 pixels for each of its crop. Half a pixel off would be a mean of 3."""
    image = enlarged(size)
    decoded = Decoded(jpeg(image))
    (crop,) = decoded.view.crops([FACE.landmarks * size])
    assert decoded.scales == [scale]
    expected = align(image, FACE.landmarks * size)
    assert np.abs(crop.astype(int) - expected).mean() < 1


def test_the_smallest_face_decides_how_large_a_photo_is_decoded() -> None:
    small = np.asarray(cv2.resize(PORTRAIT, (300, 300), interpolation=cv2.INTER_AREA), np.uint8)
    image = enlarged(6.0)
    image[:300, :300] = small
    both = [FACE.landmarks * 6, FACE.landmarks * 300 / 512]
    decoded = Decoded(jpeg(image))
    first, second = decoded.view.crops(both)
    assert decoded.scales == [1]
    assert np.abs(first.astype(int) - align(image, both[0])).mean() < 0.5
    assert np.abs(second.astype(int) - align(image, both[1])).mean() < 2.5


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_is_that_of_the_upright_photo(orientation: int) -> None:
    for scale_of in ((700, 500), (2000, 1500)):
        view = PhotoView(jpeg(np.zeros((*scale_of, 3), np.uint8), orientation))
        exchanged = orientation in (6, 8)
        assert view.size == (scale_of if exchanged else scale_of[::-1])
        assert view.image().shape[:2] == view.size[::-1]


def test_a_photo_on_its_side_by_exif_gives_the_same_crop() -> None:
    image = enlarged(3.0)
    turned = np.ascontiguousarray(np.rot90(image))  # a viewer turns it clockwise to upright
    (crop,) = PhotoView(jpeg(turned, 6)).crops([FACE.landmarks * 3])
    assert np.abs(crop.astype(int) - align(image, FACE.landmarks * 3)).mean() < 1.5


def test_a_damaged_photo_is_an_error_when_it_is_decoded() -> None:
    data = jpeg(enlarged(3.0))
    with pytest.raises(ImageError, match=r"^cut\.jpg: the image data is damaged or cut off$"):
        PhotoView(data[: len(data) // 2], name="cut.jpg").detect(Shrinking())


@pytest.mark.parametrize("size", [3.0, 6.0, 10.0])
def test_ages_are_those_of_the_whole_photo(size: float, yunet: Path) -> None:
    predictor = Predictor(detector=yunet)
    data = jpeg(enlarged(size))
    (face,), (expected,) = predictor(data), predictor(load_image(data))
    assert face.age == pytest.approx(expected.age, abs=0.8)
    assert face.box == pytest.approx(expected.box, rel=0.02)
