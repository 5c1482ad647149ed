"""The detector YuNet."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.benchmarks.samples import portrait
from halnet.faces import yunet as yunet_module
from halnet.faces.yunet import FaceDetector

PHOTO = np.zeros((100, 200, 3), np.uint8)
LANDMARKS = [[10, 12], [30, 12], [20, 20], [12, 30], [28, 30]]


def test_the_stored_face_of_the_portrait_is_what_yunet_finds(yunet: Path) -> None:
    image, stored = portrait()
    (found,) = FaceDetector(yunet)(image)
    np.testing.assert_allclose(found.landmarks, stored.landmarks, atol=0.5)
    np.testing.assert_allclose(found.box, stored.box, atol=1)
    # The first eye is on the left side of the picture; nose and mouth are below the eyes.
    (lx, ly), (rx, ry), (_, ny), (_, my), _ = found.landmarks
    assert lx < rx
    assert max(ly, ry) < ny < my


def test_faces_of_any_size_are_found_and_the_largest_is_first(yunet: Path) -> None:
    image, _ = portrait()
    face = image[30:230, 120:320]
    canvas = np.full((1500, 2000, 3), 90, np.uint8)
    canvas[100:300, 100:300] = face
    canvas[500:1300, 900:1700] = cv2.resize(face, (800, 800))
    found = FaceDetector(yunet)(canvas)
    assert len(found) == 2
    assert found[0].area > 9 * found[1].area
    x, y, width, height = found[1].box
    assert 100 < x < x + width < 300
    assert 100 < y < y + height < 300
    assert len(FaceDetector(yunet, min_face=200)(canvas)) == 1


def test_a_photo_without_a_face_gives_none(yunet: Path) -> None:
    assert FaceDetector(yunet)(np.full((300, 200, 3), 128, np.uint8)) == ()


@pytest.mark.parametrize(
    ("width", "height"),
    [(8000, 200), (200, 8000), (8000, 100), (640, 33), (16, 640), (1, 640), (4000, 2), (1, 1)],
)
@pytest.mark.parametrize("gray", [0, 128, 255])
def test_a_strip_has_no_faces(width: int, height: int, gray: int, yunet: Path) -> None:
    assert FaceDetector(yunet)(np.full((height, width, 3), gray, np.uint8)) == ()


class Net:
    """An engine for YuNet, with which `rows` are found."""

    survives_fork = True
    rows: np.ndarray

    def __call__(self, blob: np.ndarray) -> dict[str, np.ndarray]:
        self.blob = blob
        return {}


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, yunet: Path) -> Net:
    made = Net()
    monkeypatch.setattr(yunet_module, "open_engine", lambda *options: made)
    monkeypatch.setattr(yunet_module, "find_rows", lambda heads, width: made.rows.copy())
    return made


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((200, 8000), (640, 64)),  # it is shrunk to 640 x 16
        ((640, 63), (64, 640)),
        ((5, 5), (64, 64)),
        ((64, 100), (128, 64)),
    ],
)
def test_yunet_gets_no_strip(
    shape: tuple[int, int], size: tuple[int, int], net: Net, yunet: Path
) -> None:
    net.rows = np.empty((0, 15), np.float32)
    assert FaceDetector(yunet)(np.full((*shape, 3), 9, np.uint8)) == ()
    assert net.blob.shape == (1, 3, *size[::-1])
    scale = min(1, 640 / max(shape))
    assert (net.blob == 9).all(axis=1).sum() == round(shape[0] * scale) * round(shape[1] * scale)
    assert net.blob[0, :, 0, 0].tolist() == [9, 9, 9]


def test_what_no_face_can_be_is_left_out(net: Net, yunet: Path) -> None:
    """The first row is a face; the others are like those that OpenCV before 5 invents."""
    good = [10, 10, 40, 50, *np.ravel(LANDMARKS), 0.9]
    wrong = [
        {0: -np.inf, 2: np.inf},
        {0: -4.9e15, 1: -2e15, 2: 0, 3: 0},
        {2: np.nan},
        {5: np.inf},
        {14: np.nan},
        {2: -40},
        {4: 1e38, 5: -1e38},
        {0: -60, 2: 90},  # two thirds of the box are outside
        {0: -1e25, 1: -1e25, 2: 2e25, 3: 2e25},
    ]
    net.rows = np.array([good] * (len(wrong) + 1), np.float32)
    for row, values in zip(net.rows[1:], wrong, strict=True):
        for place, value in values.items():
            row[place] = value
    (face,) = FaceDetector(yunet)(PHOTO)
    assert face.box == (10, 10, 40, 50)


def test_a_detector_file_may_have_a_name_that_is_not_utf_8(yunet: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"lat\xe9.onnx")
    path.symlink_to(yunet)
    image, stored = portrait()
    (face,) = FaceDetector(path)(image)
    assert face.box == pytest.approx(stored.box, abs=1)
