import math

import cv2
import numpy as np
import pytest

from halnet.faces.alignment import MARGIN, TEMPLATE, align, inner_crop, similarity


def dots(points: np.ndarray, size: int, radius: int) -> np.ndarray:
    """Return an image with white dots on black, anti-aliased to a sixteenth of a pixel."""
    image = np.zeros((size, size, 3), np.uint8)
    for x, y in points:
        centre = (round(x * 16), round(y * 16))
        cv2.circle(image, centre, radius * 16, (255, 255, 255), cv2.FILLED, cv2.LINE_AA, 4)
    return image


def centroid(patch: np.ndarray) -> np.ndarray:
    weights = patch.astype(float).sum(axis=2)
    ys, xs = np.mgrid[: patch.shape[0], : patch.shape[1]]
    return np.array([(weights * xs).sum(), (weights * ys).sum()]) / weights.sum()


def transform(points: np.ndarray, scale: float, degrees: float, shift: np.ndarray) -> np.ndarray:
    angle = math.radians(degrees)
    matrix = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    return points @ matrix.T + shift


def test_similarity_recovers_a_known_transform() -> None:
    source = transform(TEMPLATE, 1.7, 25, np.array([40, -13]))
    matrix = similarity(source, TEMPLATE)
    np.testing.assert_allclose(source @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-9)
    assert math.hypot(matrix[0, 0], matrix[1, 0]) == pytest.approx(1 / 1.7)


def test_similarity_does_not_mirror() -> None:
    mirrored = TEMPLATE * [-1, 1]
    matrix = similarity(mirrored, TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    ("scale", "degrees"), [(1.0, 0), (1.3, 30), (0.5, -20), (4.3, 10), (9.6, -35)]
)
def test_landmarks_land_on_the_template(scale: float, degrees: float) -> None:
    """This is also true if the crop shrinks the photo nearly tenfold, after averaging pixels."""
    size = int(600 * max(1, scale))
    points = transform(TEMPLATE - 112, scale, degrees, np.array([size / 2, size / 2 + 7]))
    crop = align(dots(points, size, max(2, round(4 * scale))), points.astype(np.float32))
    assert crop.shape == (224, 224, 3)
    for x, y in TEMPLATE.astype(int):
        patch = crop[y - 10 : y + 11, x - 10 : x + 11]
        np.testing.assert_allclose(centroid(patch), [10, 10], atol=0.15)


def test_shrinking_averages_instead_of_skipping() -> None:
    """A checkerboard of single pixels becomes gray when it is shrunk eightfold."""
    image = np.zeros((2000, 2000, 3), np.uint8)
    image[::2, ::2] = image[1::2, 1::2] = 255
    points = transform(TEMPLATE - 112, 8, 0, np.array([1000, 1000]))
    crop = align(image, points.astype(np.float32))
    assert abs(int(crop[60:160, 60:160].min()) - 127) < 6
    assert abs(int(crop[60:160, 60:160].max()) - 127) < 6


def test_the_prediction_crop_lies_inside_the_prepared_crop() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (500, 500, 3), np.uint8), (0, 0), 2)
    points = transform(TEMPLATE - 112, 1.2, 12, np.array([250, 260])).astype(np.float32)
    wide = align(image, points, MARGIN)
    assert wide.shape == (256, 256, 3)
    difference = inner_crop(wide).astype(int) - align(image, points)
    assert np.abs(difference).max() <= 1


def test_parts_outside_the_photo_are_black() -> None:
    image = np.full((100, 100, 3), 255, np.uint8)
    points = (TEMPLATE - [90, 60]).astype(np.float32)  # the photo covers only a part of the crop
    crop = align(image, points)
    assert crop[10, 10].tolist() == [0, 0, 0]
    assert crop[100, 120].tolist() == [255, 255, 255]
