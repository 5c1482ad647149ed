import math
import time
from dataclasses import fields

import cv2
import numpy as np
import pytest

from halnet.errors import ConfigError, ImageError
from halnet.faces.alignment import TEMPLATE, similarity
from halnet.faces.quality import (
    DEPTHS,
    TYPICAL_PITCH,
    Quality,
    measure_inside,
    measure_pose,
    measure_quality,
    measure_sharpness,
)

RNG = np.random.default_rng(0)
CROP = RNG.integers(0, 256, (224, 224, 3)).astype(np.uint8)
LANDMARKS = TEMPLATE.astype(np.float32)
WHOLE = (224, 224)  # pixels: the photo is the crop itself


def seen(yaw: float, pitch: float) -> np.ndarray:
    """The landmarks of the typical face, seen turned to the right of the picture and then up."""
    places = np.column_stack([TEMPLATE, np.array(DEPTHS)])
    places = places - places.mean(axis=0)
    a, b = math.radians(yaw), math.radians(pitch)
    up = np.array([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]])
    right = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    return np.asarray((places @ (right @ up).T)[:, :2])


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (35, 0), (-60, 0), (0, 25), (-20, -15)])
def test_the_pose_is_that_of_the_turned_face(yaw: float, pitch: float) -> None:
    assert measure_pose(2.5 * seen(yaw, pitch) + (300, 80)) == pytest.approx((yaw, pitch))


def test_a_nose_near_the_right_eye_of_the_picture_is_a_yaw_to_the_right() -> None:
    moved = TEMPLATE.copy()
    moved[2, 0] += 15
    assert 15 < measure_pose(moved)[0] < 50
    moved[2] = TEMPLATE[2] - (0, 10)  # a nose near the eyes
    assert 10 < measure_pose(moved)[1] < 40


def test_the_pose_does_not_depend_on_the_roll_and_the_size() -> None:
    angle = math.radians(70)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    landmarks = (3 * seen(30, 10) @ turn.T + 500).astype(np.float32)
    quality = measure_quality(CROP, landmarks, (1000, 1000), 0.9)
    # The least squares of the alignment and the turned face differ by a small roll.
    assert quality.yaw == pytest.approx(30, abs=3)
    assert quality.pitch == pytest.approx(10 - TYPICAL_PITCH, abs=3)


def test_the_eyes_are_measured_in_the_photo() -> None:
    landmarks = (LANDMARKS - 84) * 0.5 + 84  # 28 pixels apart
    assert measure_quality(CROP, landmarks, WHOLE, 0.9).eye_distance == pytest.approx(28)


def test_the_brightness_is_the_mean_luma_of_the_inner_face_alone() -> None:
    crop = np.zeros((224, 224, 3), np.uint8)
    crop[72:184, 56:168] = (200, 100, 50)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    assert measure_quality(crop, LANDMARKS, WHOLE, 0.9).brightness == pytest.approx(luma, abs=1)


def texture() -> np.ndarray:
    """Luma with as much detail at each size, as photos have it, 112 x 112 uint8."""
    total = np.zeros((112, 112), np.float32)
    for side in (7, 14, 28, 56, 112):
        noise = np.random.default_rng(side).normal(0, 12, (side, side)).astype(np.float32)
        total += cv2.resize(noise, (112, 112), interpolation=cv2.INTER_LINEAR)
    return np.clip(128 + total, 0, 255).astype(np.uint8)


def test_the_sharpness_falls_with_each_step_of_blur() -> None:
    luma = texture()
    blurred = [cv2.GaussianBlur(luma, (0, 0), width).astype(np.uint8) for width in (2, 3, 4, 6)]
    values = [measure_sharpness(part) for part in (luma, *blurred)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.1 * values[0]


def test_neither_noise_nor_darkness_makes_a_blurred_face_sharp() -> None:
    luma = texture()
    blurred = cv2.GaussianBlur(luma, (0, 0), 4)
    noise = np.random.default_rng(1).normal(0, 4, luma.shape)
    noisy = np.clip(blurred + noise, 0, 255).astype(np.uint8)
    sharp = measure_sharpness(luma)
    assert measure_sharpness(noisy) < 0.5 * sharp
    assert measure_sharpness((luma * 0.4).astype(np.uint8)) == pytest.approx(sharp, rel=0.1)
    assert measure_sharpness(np.full((112, 112), 90, np.uint8)) == 0


@pytest.mark.parametrize(
    ("size", "share"),
    [
        ((224, 224), 1.0),
        ((112, 224), 0.5),  # of the columns 44 to 179, those up to 111
        ((224, 94), 0.25),  # of the rows 56 to 207, those up to 93
        ((20, 224), 0.0),
    ],
)
def test_the_share_of_the_face_inside_the_photo(size: tuple[int, int], share: float) -> None:
    same = np.array([[1.0, 0, 0], [0, 1, 0]])
    assert measure_inside(same, size) == pytest.approx(share, abs=1e-4)


def test_a_face_that_is_cut_off_at_the_left_and_at_the_top() -> None:
    # In a photo of twice the size, the first pixel of the crop is at (-224, -264).
    landmarks = TEMPLATE * 2 - (224, 264)
    share = (180 - 112) / 136 * (208 - 132) / 152
    matrix = similarity(landmarks, TEMPLATE)
    assert measure_inside(matrix, (2000, 2000)) == pytest.approx(share, abs=0.01)


def test_the_numbers_for_json() -> None:
    quality = measure_quality(CROP, LANDMARKS, WHOLE, 0.912345)
    values = quality.to_dict()
    assert list(values) == [field.name for field in fields(Quality)]
    assert values["score"] == 0.9123
    assert values["inside"] == 1.0
    assert all(type(value) is float for value in values.values())


def test_what_is_no_face() -> None:
    with pytest.raises(ImageError, match="found 256 x 256 x 3 uint8"):
        measure_quality(np.zeros((256, 256, 3), np.uint8), LANDMARKS, WHOLE, 0.9)
    with pytest.raises(ConfigError, match="two different eyes"):
        measure_quality(CROP, np.zeros((5, 2), np.float32), WHOLE, 0.9)
    broken = LANDMARKS.copy()
    broken[2, 0] = np.nan
    with pytest.raises(ConfigError, match="finite"):
        measure_quality(CROP, broken, WHOLE, 0.9)
    with pytest.raises(ConfigError, match="above 0 pixels"):
        measure_quality(CROP, LANDMARKS, (0, 224), 0.9)


def test_a_face_takes_less_than_a_millisecond() -> None:
    fastest = math.inf
    for _ in range(50):
        start = time.perf_counter()
        measure_quality(CROP, LANDMARKS, WHOLE, 0.9)
        fastest = min(fastest, time.perf_counter() - start)
    assert fastest < 1e-3
