from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.training.data import (
    augment,
    colour_matrix,
    crop_array,
    evaluation_loader,
    training_loader,
)


def test_the_array_of_crops_keeps_order_and_margin(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    array = crop_array(data, 128)
    assert array.shape == (240, 146, 146, 3)
    assert isinstance(array.base, np.memmap) or isinstance(array, np.memmap)
    for row in (0, 17, 239):
        whole = data.crop(data.records[row])
        small = cv2.resize(whole, (146, 146), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(array[row], small)
    assert crop_array(data, 224).shape == (240, 256, 256, 3)


def test_a_full_disk_leaves_no_half_array(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = PreparedDataset(prepared)
    calls = []

    def full(record: object) -> np.ndarray:
        calls.append(record)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        return real(record)

    real = data.crop
    monkeypatch.setattr(data, "crop", full)
    with pytest.raises(OSError, match="No space left"):
        crop_array(data, 192)
    assert not [p for p in (prepared / "cache").iterdir() if "219" in p.name or p.name[0] == "."]


def test_batches_depend_only_on_the_epoch(prepared: Path) -> None:
    data = PreparedDataset(prepared)

    def batches(epoch: int, workers: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
        loader = training_loader(data, data.select("train"), 32, 16, (0, epoch), workers)
        next(iter(loader))  # a second pass must have the same order
        return list(loader)

    first, again, parallel, later = batches(0), batches(0), batches(0, 2), batches(1)
    train = data.select("train")
    assert len(first) == len(train) // 16
    for a, b, c in zip(first, again, parallel, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[0], c[0])
        assert torch.equal(a[1], c[1])
    assert not torch.equal(first[0][1], later[0][1])
    assert first[0][0].dtype == torch.uint8
    assert first[0][0].shape == (16, 32, 32, 3)


def test_processes_share_every_batch(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    records = data.select("train")
    whole = list(training_loader(data, records, 32, 16, (0, 0)))
    first, second = (
        list(training_loader(data, records, 32, 16, (0, 0), 0, (rank, 2))) for rank in (0, 1)
    )
    assert len(whole) == len(first) == len(second) == 13
    for together, a, b in zip(whole, first, second, strict=True):
        assert torch.equal(together[0], torch.cat([a[0], b[0]]))
        assert torch.equal(together[1], torch.cat([a[1], b[1]]))


def test_images_and_ages_stay_together(prepared: Path) -> None:
    """Synthetic crops are brighter for older ages. Augmentation must keep this correlation."""
    data = PreparedDataset(prepared)
    pairs = list(training_loader(data, data.select("train"), 32, 16, (0, 0)))
    brightness = np.concatenate([b[0].float().mean((1, 2, 3)).numpy() for b in pairs])
    ages = np.concatenate([b[1].numpy() for b in pairs])
    assert np.corrcoef(brightness, ages)[0, 1] > 0.6


def test_only_the_given_records_are_trained_on(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    train = data.select("train")
    assert {record.split for record in train} == {"train"}
    assert len(train) == 216
    for records in (train, data.select("train", 60)):
        loader = training_loader(data, records, 32, 12, (0, 0))
        seen = torch.cat([ages for _, ages in loader]).tolist()
        assert sorted(seen) == sorted(record.age for record in records)
    few = [record.age for record in data.select("train", 60)]
    assert len(few) == 60
    assert few == [train[i * 216 // 60].age for i in range(60)], (
        "the photos are spread over the whole split"
    )


def test_evaluation_uses_the_crops_of_prediction(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    records = data.select("val")
    images, ages = next(iter(evaluation_loader(data, records, 224, 64)))
    np.testing.assert_array_equal(images.numpy(), data.inner_crops(records))
    assert ages.tolist() == [record.age for record in records]


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
