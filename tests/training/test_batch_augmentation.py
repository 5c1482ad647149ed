"""Batches of augmented crops have the distribution of single ones."""

import cv2
import numpy as np
import pytest
import torch

from halnet.faces.alignment import MARGIN, TEMPLATE, similarity
from halnet.training import augmentation as single
from halnet.training import batch_augmentation as batches
from halnet.training.augmentation import NO_CHANGES, PhotoChanges


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Return eight smooth crops of 256 x 256 pixels."""
    small = np.random.default_rng(2).integers(0, 256, (8, 11, 11, 3)).astype(np.uint8)
    return np.stack([cv2.resize(crop, (256, 256), interpolation=cv2.INTER_CUBIC) for crop in small])


def test_a_warp_is_that_of_opencv(crops: np.ndarray) -> None:
    matrices = batches.draw_matrices(len(crops), 256, 224, np.random.default_rng(0))
    assert (matrices[:, 0, 0] < 0).any()
    assert (matrices[:, 0, 0] > 0).any()
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    found = batches.warp(images, matrices, 224).permute(0, 2, 3, 1).numpy()
    for crop, matrix, image in zip(crops, matrices, found, strict=True):
        expected = cv2.warpAffine(crop, matrix, (224, 224), flags=cv2.INTER_LINEAR)
        inside = cv2.warpAffine(np.full((256, 256), 255, np.uint8), matrix, (224, 224)) == 255
        assert np.abs(image - expected)[inside].max() < 3
        assert (image[cv2.dilate(255 * inside.astype(np.uint8), np.ones((7, 7))) == 0] == 0).all()


def test_matrices_have_the_spread_of_single_crops() -> None:
    matrices = batches.draw_matrices(20_000, 256, 224, np.random.default_rng(0))
    scale = np.sqrt(np.abs(np.linalg.det(matrices[:, :, :2])))
    assert np.log(scale).min() == pytest.approx(-single.SCALE, abs=0.001)
    assert np.log(scale).max() == pytest.approx(single.SCALE, abs=0.001)
    mirrored = matrices[:, 0, 0] < 0
    assert mirrored.mean() == pytest.approx(0.5, abs=0.02)
    angle = np.degrees(np.arctan2(-matrices[:, 1, 0], matrices[:, 1, 1]))
    assert [angle.min(), angle.max()] == pytest.approx([-12, 12], abs=0.02)
    middle = matrices[:, :, :2] @ [127.5, 127.5] + matrices[:, :, 2]
    reach = single.SHIFT * 224
    assert np.abs(middle - 111.5).max() == pytest.approx(reach, abs=0.01)
    assert middle.mean(axis=0) == pytest.approx([111.5, 111.5], abs=0.2)


def test_errors_of_landmarks_are_the_least_squares() -> None:
    errors = batches.draw_errors(3, 128, 6.0, np.random.default_rng(4))
    points = (TEMPLATE + MARGIN + 0.5) * 0.5 - 0.5
    moved = points + 3.0 * np.random.default_rng(4).standard_normal((3, 5, 2))
    for matrix, places in zip(errors, moved, strict=True):
        assert matrix == pytest.approx(similarity(places, points))
    still = batches.draw_errors(2, 128, 0.0, np.random.default_rng(4))
    assert still == pytest.approx(np.tile([[1.0, 0, 0], [0, 1, 0]], (2, 1, 1)), abs=1e-9)


def test_colours_are_changed_like_those_of_a_single_crop(crops: np.ndarray) -> None:
    matrices = batches.draw_colours(len(crops), np.random.default_rng(1))
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    found = batches.change_colours(images, matrices).permute(0, 2, 3, 1).numpy()
    for crop, matrix, image in zip(crops, matrices, found, strict=True):
        assert np.abs(image - cv2.transform(crop, matrix.astype(float))).max() <= 1
    many = batches.draw_colours(5_000, np.random.default_rng(1))
    gray = np.isclose(many[:, 0, :3], many[:, 1, :3]).all(axis=1)
    assert gray.mean() == pytest.approx(single.GRAY_RATE, abs=0.01)


def test_a_quarter_of_the_crops_lose_a_rectangle() -> None:
    images = torch.full((4_000, 3, 32, 32), -1.0)
    found = batches.erase(images, np.random.default_rng(0))
    erased = (found[:, 0] != -1).float()
    shares = erased.flatten(1).mean(dim=1)
    hit = shares > 0
    assert float(hit.float().mean()) == pytest.approx(single.ERASE_RATE, abs=0.02)
    assert float(shares[hit].min()) > 0.01
    assert float(shares[hit].max()) < 0.23
    for image, mask in zip(found[hit][:50], erased[hit][:50], strict=True):
        rows, columns = mask.any(dim=1), mask.any(dim=0)
        assert mask.sum() == rows.sum() * columns.sum()  # a rectangle
        assert len(image[:, mask.bool()].unique(dim=1).T) == 1  # of one colour


def test_a_batch_depends_on_its_seed_alone(crops: np.ndarray) -> None:
    images = torch.from_numpy(crops)
    changes = PhotoChanges(degrade=1.0, jitter=2.0)

    def run(seed: int, precision: bool) -> torch.Tensor:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision):
            return batches.augment_batch(images, 224, changes, rng)

    first = run(0, precision=False)
    assert first.shape == (8, 224, 224, 3)
    assert first.dtype == torch.float32
    assert (first == first.round()).all()
    assert 0 <= float(first.min()) <= float(first.max()) <= 255
    assert (first == run(0, precision=True)).all()
    assert (first != run(1, precision=False)).any()


def test_the_mean_picture_is_that_of_single_crops(crops: np.ndarray) -> None:
    crop = crops[0]
    rng = np.random.default_rng(0)
    expected = np.mean([single.augment(crop, 224, rng) for _ in range(400)], axis=0)
    many = torch.from_numpy(np.stack([crop] * 400))
    found = batches.augment_batch(many, 224, NO_CHANGES, rng).mean(dim=0).numpy()
    assert np.abs(found - expected).mean() < 4
    assert np.abs(crop[16:240, 16:240] - expected).mean() > 12
