import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.training.augmentation import PhotoChanges
from halnet.training.config import Share, TrainConfig
from halnet.training.data import crop_array, evaluation_loader, to_tensors, training_loader
from halnet.training.photos import TrainingPhotos, photos_by_set, training_photos


@pytest.fixture
def data(prepared: Path) -> DataCollection:
    return DataCollection([PreparedDataset(prepared)])


@pytest.fixture
def both(prepared: Path, ranges: Path) -> DataCollection:
    """A dataset of exact ages and one of ranges of ten years."""
    return DataCollection([PreparedDataset(prepared), PreparedDataset(ranges)])


def photos(data: DataCollection, **recipe: Any) -> TrainingPhotos:
    return training_photos(data, TrainConfig(**recipe))


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


def test_a_dataset_that_cannot_be_written_can_be_trained_on(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALNET_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: prepared not in (path, *path.parents))
    data = PreparedDataset(prepared)
    array = crop_array(data, 40)
    assert array.shape == (240, 46, 46, 3)
    (path,) = (tmp_path / "datasets").iterdir()
    assert path.name == f"crops_46_{data.index_sha256[:16]}.npy"


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ({}, PhotoChanges()),
        ({"balance": 0.3, "shares": (Share("ranges", 2),)}, PhotoChanges(degrade=0.5, jitter=2)),
    ],
    ids=["default", "balanced and degraded"],
)
def test_batches_depend_only_on_the_epoch(
    recipe: dict[str, Any], changes: PhotoChanges, both: DataCollection
) -> None:
    train = photos(both, **recipe)

    def batches(epoch: int, workers: int = 0) -> list[tuple[torch.Tensor, ...]]:
        loader = training_loader(train, 32, 16, (0, epoch), workers, changes=changes)
        next(iter(loader))  # a second pass must have the same order
        return list(loader)

    first, again, parallel, later = batches(0), batches(0), batches(0, 2), batches(1)
    assert len(first) == len(both.select("train")) // 16
    for a, b, c in zip(first, again, parallel, strict=True):
        for values, others in zip((a, a), (b, c), strict=True):
            assert all(map(torch.equal, values, others))
    assert not torch.equal(first[0][1], later[0][1])
    assert first[0][0].dtype == torch.uint8
    assert first[0][0].shape == (16, 32, 32, 3)


def test_crops_that_are_augmented_later_are_the_prepared_ones(both: DataCollection) -> None:
    train = photos(both, photos=12)
    ((images, low, _),) = training_loader(train, 32, 24, (0, 0), changes=None)
    assert images.shape == (24, 37, 37, 3)  # with the margin: 32 * 256 / 224
    order, _ = train.draw((0, 0))
    arrays = [crop_array(part.data, 32)[part.rows] for part in train.sets]
    assert np.array_equal(images.numpy(), np.concatenate(arrays)[order])
    assert low.tolist() == [train.records[photo].age_low for photo in order]


@pytest.mark.parametrize("full", [False, True])
def test_a_full_shared_memory_does_not_stop_a_worker(
    full: bool, data: DataCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers often have a shared memory that is too small for a batch."""

    def fail(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    expected = list(training_loader(photos(data), 32, 16, (0, 0)))
    if full:
        monkeypatch.setattr(torch.Tensor, "share_memory_", fail)
    found = list(training_loader(photos(data), 32, 16, (0, 0), workers=1))
    assert isinstance(found[0][0], np.ndarray if full else torch.Tensor)
    for batch, other in zip(found, expected, strict=True):
        assert all(map(torch.equal, to_tensors(batch), other))


def test_processes_share_every_batch(data: DataCollection) -> None:
    train = photos(data)
    whole = list(training_loader(train, 32, 16, (0, 0)))
    first, second = (list(training_loader(train, 32, 16, (0, 0), 0, (rank, 2))) for rank in (0, 1))
    assert len(whole) == len(first) == len(second) == 13
    for together, a, b in zip(whole, first, second, strict=True):
        assert torch.equal(together[0], torch.cat([a[0], b[0]]))
        assert torch.equal(together[1], torch.cat([a[1], b[1]]))


def test_images_and_labels_stay_together(both: DataCollection) -> None:
    """Synthetic crops are brighter for older ages. Augmentation must keep this correlation."""
    batches = list(training_loader(photos(both), 32, 16, (0, 0)))
    brightness = np.concatenate([b[0].float().mean((1, 2, 3)).numpy() for b in batches])
    low, high = (np.concatenate([b[i].numpy() for b in batches]) for i in (1, 2))
    assert set((high - low).tolist()) == {0, 9}
    for years in (0, 9):
        own = high - low == years
        assert np.corrcoef(brightness[own], low[own])[0, 1] > 0.6


def test_only_the_training_photos_are_used(data: DataCollection) -> None:
    train = data.select("train")
    assert {record.split for record in train} == {"train"}
    assert len(train) == 216
    for limit in (0, 60):
        loader = training_loader(photos(data, photos=limit), 32, 12, (0, 0))
        seen = torch.cat([ages for _, ages, _ in loader]).tolist()
        assert sorted(seen) == sorted(record.age for record in data.select("train", limit))
    few = [record.age for record in data.select("train", 60)]
    assert len(few) == 60
    assert few == [train[i * 216 // 60].age for i in range(60)], (
        "the photos are spread over the whole split"
    )


def test_photos_that_are_drawn_twice_in_an_epoch_look_different(data: DataCollection) -> None:
    some = photos(data, photos=12)
    rates = np.array([6.0, *[6 / 11] * 11])
    loader = training_loader(TrainingPhotos(some.sets, rates), 32, 12, (0, 0))
    images, ages, _ = next(iter(loader))
    first = images[ages == some.records[0].age]
    assert len(first) == 6
    assert len({image.numpy().tobytes() for image in first}) == 6


def test_evaluation_uses_the_crops_of_prediction(both: DataCollection) -> None:
    records = both.select("val")
    images, low, high = next(iter(evaluation_loader(photos_by_set(both, "val"), 224, 64)))
    np.testing.assert_array_equal(images.numpy(), both.inner_crops(records))
    assert low.tolist() == [record.age_low for record in records]
    assert high.tolist() == [record.age_high for record in records]


def test_evaluation_at_a_low_resolution_scales_the_crops_of_prediction(
    both: DataCollection,
) -> None:
    images, _, _ = next(iter(evaluation_loader(photos_by_set(both, "val"), 64, 64)))
    crops = both.inner_crops(both.select("val"))
    expected = [cv2.resize(crop, (64, 64), interpolation=cv2.INTER_AREA) for crop in crops]
    np.testing.assert_array_equal(images.numpy(), np.stack(expected))
