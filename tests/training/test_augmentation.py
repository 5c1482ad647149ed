from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.evaluation import degradations
from halnet.faces.alignment import TEMPLATE, align
from halnet.training import augmentation
from halnet.training.augmentation import (
    PhotoChanges,
    alignment_error,
    augment,
    change_photo,
    colour_matrix,
)
from halnet.training.config import TrainConfig


def test_augmentation_stays_near_the_crop() -> None:
    """A bright spot at the centre moves at most by the shift. Half of the crops are mirrored."""
    crop = np.zeros((146, 146, 3), np.uint8)
    cv2.circle(crop, (73, 73), 9, (200, 200, 200), cv2.FILLED)
    crop[60:86, 30:36] = 255  # left of the spot
    left = 0
    for seed in range(200):
        image = augment(crop, 128, np.random.default_rng(seed)).astype(float).sum(axis=2)
        columns = np.arange(128)
        centre = (image[:, 40:88].sum(0) * columns[40:88]).sum() / max(image[:, 40:88].sum(), 1)
        assert 45 < centre < 83
        left += image[:, :45].sum() > image[:, 83:].sum()
    assert 60 < left < 140


def test_saturation_contrast_and_brightness_of_a_pixel() -> None:
    pixel = np.array([200.0, 100.0, 50.0])

    def apply(matrix: np.ndarray) -> np.ndarray:
        return matrix[:, :3] @ pixel + matrix[:, 3]

    np.testing.assert_allclose(apply(colour_matrix(1, 1, 1)), pixel)
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    np.testing.assert_allclose(apply(colour_matrix(1, 1, 0)), [luma] * 3)
    np.testing.assert_allclose(apply(colour_matrix(1.5, 1, 1)), pixel * 1.5)
    np.testing.assert_allclose(apply(colour_matrix(1, 0.5, 1)), (pixel - 128) * 0.5 + 128)


def test_an_alignment_error_is_what_landmarks_with_errors_cause() -> None:
    """A photo is aligned with the true landmarks, and with the errors that the generator draws."""
    photo = np.zeros((400, 400, 3), np.uint8)
    cv2.ellipse(photo, (190, 200), (40, 60), 20, 0, 360, (255, 200, 90), cv2.FILLED)
    landmarks = (TEMPLATE + 80).astype(np.float32)
    errors = 6 * np.random.default_rng(4).standard_normal((5, 2))
    expected = align(photo, (landmarks + errors).astype(np.float32), margin=16)
    matrix = alignment_error(256, 6, np.random.default_rng(4))
    found = cv2.warpAffine(align(photo, landmarks, margin=16), matrix, (256, 256))
    assert np.abs(expected.astype(int) - found).mean() < 0.5
    unmoved = align(photo, landmarks, margin=16)
    assert np.abs(expected.astype(int) - unmoved).mean() > 2


def test_an_alignment_error_scales_with_the_crop() -> None:
    """At half the size, the same errors rotate and scale alike, and shift half as many pixels."""
    whole, half = (alignment_error(side, 3, np.random.default_rng(1)) for side in (256, 128))
    np.testing.assert_allclose(whole[:, :2], half[:, :2])
    centre = np.array([127.5, 127.5])
    shift = whole[:, :2] @ centre + whole[:, 2] - centre
    half_shift = half[:, :2] @ (centre / 2 - 0.25) + half[:, 2] - (centre / 2 - 0.25)
    np.testing.assert_allclose(half_shift, shift / 2)
    assert np.abs(shift).max() > 0.3
    still = alignment_error(256, 0, np.random.default_rng(1))
    np.testing.assert_allclose(still, [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_an_error_comes_before_the_augmentation() -> None:
    """A shift to the right stays one to the right in the crop, or to the left if it is mirrored."""
    crop = np.zeros((256, 256, 3), np.uint8)
    crop[:, 120:136] = 255
    shift = np.array([[1.0, 0, 20], [0, 1, 0]])
    moved = []
    for seed in range(20):
        images = [augment(crop, 224, np.random.default_rng(seed), e) for e in (None, shift)]
        weights = [image.astype(float).sum((0, 2)) for image in images]
        centres = [(w * np.arange(224)).sum() / w.sum() for w in weights]
        moved.append(centres[1] - centres[0])
    assert {bool(m > 0) for m in moved} == {True, False}
    assert 12 < np.median(np.abs(moved)) < 25


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """The degradations that are applied, with their strengths. They change nothing."""
    applied: list[tuple[str, float]] = []

    def fake(name: str) -> Callable[..., Any]:
        def apply(crop: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
            applied.append((name, strength))
            return crop

        return apply

    table = {name: fake(name) for name in degradations.DEGRADATIONS}
    monkeypatch.setattr(augmentation, "DEGRADATIONS", table)
    return applied


def test_the_given_share_of_crops_gets_one_or_two_degradations(
    counting: list[tuple[str, float]],
) -> None:
    changes = PhotoChanges.of(TrainConfig(degrade=0.3, degradations="noise, jpeg,blur"))
    crop = np.zeros((64, 64, 3), np.uint8)
    numbers = []
    for seed in range(600):
        counting.clear()
        change_photo(crop, changes, np.random.default_rng(seed))
        names = [name for name, _ in counting]
        assert len(set(names)) == len(names), "no degradation comes twice"
        assert set(names) <= {"noise", "jpeg", "blur"}
        assert all(0 <= strength < 1 for _, strength in counting)
        numbers.append(len(names))
    counts = np.bincount(numbers)
    assert len(counts) == 3
    assert 0.24 < (counts[1] + counts[2]) / 600 < 0.36
    assert 0.35 < counts[2] / (counts[1] + counts[2]) < 0.65


def test_without_options_a_photo_stays_as_it_is(counting: list[tuple[str, float]]) -> None:
    assert not PhotoChanges.of(TrainConfig())
    assert PhotoChanges.of(TrainConfig(jitter=1))
    crop = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    same, error = change_photo(crop, PhotoChanges(jitter=1), np.random.default_rng(0))
    assert same is crop
    assert not counting
    assert np.abs(error - [[1, 0, 0], [0, 1, 0]]).max() > 1e-3


def test_one_named_degradation_is_drawn_alone(counting: list[tuple[str, float]]) -> None:
    changes = PhotoChanges(degrade=1, names=("gray",))
    for seed in range(20):
        change_photo(np.zeros((8, 8, 3), np.uint8), changes, np.random.default_rng(seed))
    assert [name for name, _ in counting] == ["gray"] * 20
