import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.faces.alignment import TEMPLATE, roll
from halnet.faces.detected import DetectedFace
from halnet.faces.looks import LOOK_SIDE
from halnet.faces.upright import UprightDetector
from halnet.faces.yunet import FaceDetector
from halnet.photos.images import Image, load_image


def turn(photo: Image, degrees: float) -> tuple[Image, np.ndarray]:
    """Return a photo turned clockwise in a larger frame, and the 2 x 3 matrix of its pixels."""
    height, width = photo.shape[:2]
    side = math.ceil(math.hypot(height, width))
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), -degrees, 1.0)
    matrix[:, 2] += [side / 2 - width / 2, side / 2 - height / 2]
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(photo, matrix, (side, side), borderMode=border)), matrix


def face_at(x: float, y: float, degrees: float = 0.0, score: float = 0.95) -> DetectedFace:
    """Return a face of 100 x 120 pixels whose landmarks are turned clockwise."""
    angle = math.radians(degrees)
    turned = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    landmarks = (TEMPLATE - TEMPLATE.mean(axis=0)) @ turned.T / 2 + (x, y)
    return DetectedFace((x - 50, y - 60, 100, 120), landmarks.astype(np.float32), score)


class Counted:
    """A detector that returns what it was told, and keeps the photos that it was given."""

    def __init__(self, *answers: Sequence[DetectedFace]) -> None:
        self.answers = list(answers)
        self.photos: list[Image] = []

    def __call__(self, photo: Image) -> Sequence[DetectedFace]:
        self.photos.append(photo)
        return self.answers.pop(0) if self.answers else ()


PHOTO = np.zeros((400, 300, 3), np.uint8)


@pytest.mark.parametrize("degrees", [-150, -90, -12, 0, 30, 90, 179])
def test_the_roll_is_the_clockwise_angle(degrees: float) -> None:
    assert roll(face_at(10, 20, degrees).landmarks) == pytest.approx(degrees, abs=1e-3)


def test_a_certain_upright_face_costs_nothing() -> None:
    face, small = face_at(150, 200), face_at(60, 80, score=0.7)
    find, look = Counted([face, small]), Counted()
    assert UprightDetector(find, look)(PHOTO) == (face, small)
    assert len(find.photos) == 1
    assert not look.photos


MIDDLE = LOOK_SIDE / 2


def test_a_doubtful_face_that_looks_upright_costs_one_look() -> None:
    face, rival = face_at(150, 200, score=0.8), face_at(MIDDLE - 30, MIDDLE, score=0.95)
    find, look = Counted([face]), Counted([rival, face_at(MIDDLE + 3, MIDDLE, score=0.9)])
    assert UprightDetector(find, look)(PHOTO) == (face,)
    assert [photo.shape for photo in look.photos] == [(LOOK_SIDE, LOOK_SIDE, 3)]


def test_a_face_that_stays_doubtful_is_upright_if_all_other_looks_are_worse() -> None:
    face = face_at(150, 200, score=0.8)
    upright = face_at(MIDDLE, MIDDLE, score=0.85)
    rival = face_at(MIDDLE + 2 * LOOK_SIDE, MIDDLE + LOOK_SIDE, score=0.84)  # the seventh look
    find, look = Counted([face]), Counted([upright], [rival, upright])
    assert UprightDetector(find, look)(PHOTO) == (face,)
    assert look.photos[1].shape == (3 * LOOK_SIDE, 4 * LOOK_SIDE, 3)
    worse = replace(upright, score=0.83)
    find, look = Counted([face], [face_at(150, 200)]), Counted([worse], [rival, worse])
    (turned,) = UprightDetector(find, look)(PHOTO)
    assert abs(roll(turned.landmarks)) == pytest.approx(180, abs=1e-3)


def find_below_spot(picture: Image) -> list[DetectedFace]:
    """Find a face in each look with a white spot above it; it is wrong if turned by over 20."""
    rows, columns = (side // LOOK_SIDE for side in picture.shape[:2])
    found = []
    for row in range(rows):
        for column in range(columns):
            x, y = column * LOOK_SIDE, row * LOOK_SIDE
            look = picture[y : y + LOOK_SIDE, x : x + LOOK_SIDE]
            down, across = np.argwhere(look[:, :, 0] > 100).mean(axis=0) - (LOOK_SIDE - 1) / 2
            degrees = math.degrees(math.atan2(across, -down))
            centre = x + MIDDLE, y + MIDDLE
            good = abs(degrees) < 20
            face = face_at(*centre, degrees, 0.9) if good else face_at(*centre, 0, 0.8)
            # As large as a look shows a face.
            found.append(replace(face, box=(centre[0] - 21, centre[1] - 26, 42, 51)))
    return found


@pytest.mark.parametrize("degrees", range(30, 360, 30))
def test_a_doubtful_face_is_looked_at_in_all_directions(degrees: int) -> None:
    angle = math.radians(degrees)
    spot = round(150 + 80 * math.sin(angle)), round(200 - 80 * math.cos(angle))
    photo = cv2.circle(PHOTO.copy(), spot, 8, (255, 255, 255), -1)
    find = Counted([face_at(150, 200, score=0.8)])
    (face,) = UprightDetector(find, find_below_spot)(photo)
    assert roll(face.landmarks) % 360 == pytest.approx(degrees, abs=3)


def test_a_photo_without_a_face_is_tried_in_three_turns() -> None:
    photo = PHOTO.copy()
    photo[0, 0] = 9  # the corner shows how the detector got the photo
    best = face_at(200, 150)
    find = Counted((), [face_at(200, 150, score=0.7)], (), [best], [best])
    (face,) = UprightDetector(find, Counted())(photo)
    shapes = [photo.shape[:2] for photo in find.photos]
    assert shapes == [(400, 300), (300, 400), (400, 300), (300, 400), (300, 400)]
    assert find.photos[-1][0, -1, 0] == 9, "turned clockwise by 90 degrees"
    # A photo that must be turned clockwise shows a face that is turned the other way.
    assert roll(face.landmarks) == pytest.approx(-90, abs=1e-3)
    assert face.box == pytest.approx((150 - 60, 399 - 200 - 50, 120, 100))


def test_faces_of_a_large_photo_are_in_its_own_pixels() -> None:
    face = face_at(150, 200)
    find = Counted([face])
    (found,) = UprightDetector(find, Counted())(np.zeros((1280, 960, 3), np.uint8))
    assert find.photos[0].shape == (640, 480, 3)
    assert found.box == (200, 280, 200, 240)
    np.testing.assert_allclose(found.landmarks, 2 * face.landmarks)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_photo_on_its_side_gives_the_same_landmarks(degrees: int, yunet: Path) -> None:
    photo = load_image(bundled("portrait.jpg"))
    detect = UprightDetector(FaceDetector(yunet))
    (expected,) = detect(photo)
    turned = np.ascontiguousarray(np.rot90(photo, -degrees // 90))
    (face,) = detect(turned)
    x, y = face.landmarks.T.astype(np.float64)
    bottom, right = photo.shape[0] - 1, photo.shape[1] - 1
    back = {90: (y, bottom - x), 180: (right - x, bottom - y), 270: (right - y, x)}[degrees]
    assert np.abs(np.array(back).T - expected.landmarks).max() < 0.01
    assert face.score == pytest.approx(expected.score, abs=1e-4)


# At 330 degrees, YuNet reads this face as upright, with a score that nothing else contradicts.
@pytest.mark.parametrize("degrees", [30, 60, 120, 150, 210, 240, 300])
def test_a_photo_turned_by_any_angle_shows_its_face_the_right_way(
    degrees: int, yunet: Path
) -> None:
    photo = load_image(bundled("portrait.jpg"))
    detect = UprightDetector(FaceDetector(yunet))
    (upright,) = detect(photo)
    turned, matrix = turn(photo, degrees)
    (face,) = detect(turned)
    expected = upright.landmarks @ matrix[:, :2].T + matrix[:, 2]
    eyes = np.hypot(*(upright.landmarks[1] - upright.landmarks[0]))
    assert np.abs(face.landmarks - expected).max() < 0.25 * eyes
