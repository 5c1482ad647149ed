"""Training batches: augmented crops from one memory-mapped array for each dataset.

All random numbers depend on the seed, the epoch and the photo only. So the batches do not depend on
the number of workers, and a resumed run gets the same batches.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.faces.alignment import CROP_SIZE, PREPARED_SIZE, inner_crop
from halnet.files import replacing
from halnet.photos.images import Image
from halnet.training.augmentation import NO_CHANGES, PhotoChanges, augment, change_photo
from halnet.training.photos import (
    CHANGES_STREAM,
    SetPhotos,
    TrainingPhotos,
    join_records,
    label_ends,
)

# N x S x S x 3 uint8 RGB, and the lowest and highest age of each label in years (N, int64)
Batch = tuple[Tensor, Tensor, Tensor]


def crop_array(data: PreparedDataset, size: int) -> NDArray[np.uint8]:
    """Return all prepared crops, in the order of the index, scaled for training at `size` pixels.

    The result is N x P x P x 3 uint8 RGB and memory-mapped. P is round(256 * size / 224), because
    the crops keep their margin for augmentation. For each size, the array is written once, where
    `PreparedDataset.cache_path` says.
    """
    side = round(PREPARED_SIZE * size / CROP_SIZE)
    path = data.cache_path(f"crops_{side}")
    if not path.exists():
        header = {"descr": "|u1", "fortran_order": False}
        shape = (len(data.records), side, side, 3)
        # With ordinary writes, a full disk is an error. With a mapped file, it would be a signal
        # that kills the program.
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            for record in data.records:
                file.write(_scale(data.crop(record), side).tobytes())
    return np.asarray(np.load(path, mmap_mode="r"))


def _scale(image: Image, side: int) -> Image:
    if side == image.shape[0]:
        return image
    method = cv2.INTER_AREA if side < image.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), np.uint8)


class TrainingCrops(Dataset[Batch]):
    """Crops of one epoch in their order, augmented or not."""

    def __init__(
        self,
        photos: TrainingPhotos,
        size: int,
        seed: tuple[int, int],
        changes: PhotoChanges | None,
    ) -> None:
        """Use crops of `size` pixels. `seed` is (seed, epoch).

        Without `changes`, the crops are as they are prepared and have their margin.
        """
        self._arrays = [crop_array(part.data, size) for part in photos.sets]
        self._places = _places(photos)
        self._low, self._high = _labels(photos.records)
        self._photos, self._copies = photos.draw(seed)
        self._size = size
        self._seed = seed
        self._changes = changes

    def __len__(self) -> int:
        return len(self._photos)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a complete batch. The indices are places in the order of the epoch."""
        images = np.stack([self._crop(index) for index in indices])
        photos = torch.from_numpy(self._photos[indices])
        return torch.from_numpy(images), self._low[photos], self._high[photos]

    def _crop(self, index: int) -> Image:
        photo, copy = int(self._photos[index]), int(self._copies[index])
        part, row = self._places[photo]
        crop, seed = self._arrays[part][row], (*self._seed, photo, copy)
        if self._changes is None:
            return np.asarray(crop, np.uint8)
        error = None
        if self._changes:
            rng = np.random.default_rng((*seed, CHANGES_STREAM))
            crop, error = change_photo(crop, self._changes, rng)
        return augment(crop, self._size, np.random.default_rng(seed), error)


def _places(photos: TrainingPhotos) -> NDArray[np.int64]:
    """Return for each photo the number of its dataset and its row in the index, N x 2."""
    sets = [np.full(len(part.rows), number) for number, part in enumerate(photos.sets)]
    rows = [part.rows for part in photos.sets]
    return np.stack([np.concatenate(sets), np.concatenate(rows)], axis=1)


def _labels(records: Sequence[Record]) -> tuple[Tensor, Tensor]:
    low, high = label_ends(records)
    return torch.from_numpy(low), torch.from_numpy(high)


def training_loader(
    photos: TrainingPhotos,
    size: int,
    batch_size: int,
    seed: tuple[int, int],
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
    changes: PhotoChanges | None = NO_CHANGES,
) -> DataLoader[Batch]:
    """Return the shuffled batches of one epoch, augmented unless `changes` is None.

    `size` is the resolution in pixels, and `seed` is (seed, epoch). `workers` is the number of
    processes that load batches. `share` is (rank, number of processes): each training process gets
    its part of every batch of `batch_size`. `changes` are degradations and errors of landmarks; if
    it is None, the crops are N x P x P x 3 and have their margin (see `crop_array`).
    """
    crops = TrainingCrops(photos, size, seed, changes)
    rank, processes = share
    part = min(batch_size, len(crops)) // processes  # photos of a batch for each process
    # A last batch of one or two photos would distort the statistics of batch norms, so only
    # complete batches are used.
    whole = np.arange(len(crops) // (part * processes) * part * processes)
    return DataLoader(
        crops,
        batch_size=part,
        sampler=whole.reshape(-1, processes, part)[:, rank].ravel().tolist(),
        num_workers=workers,
        collate_fn=_share,
        pin_memory=torch.cuda.is_available(),
    )


def _share(batch: Any) -> Any:
    """Return a batch in the form in which it leaves the process that made it.

    A worker puts the tensors into shared memory (/dev/shm). In containers, that is often too small
    for a batch. PyTorch would notice this only after the worker has returned the batch, and wait
    for it for ever. Here, such a batch becomes arrays, which go through a pipe and need no shared
    memory. This takes longer by 11 ms for 64 crops at 224 pixels. `to_tensors` undoes it.
    """
    if get_worker_info() is None:
        return batch
    try:
        return tuple(part.share_memory_() for part in batch)
    except RuntimeError:
        return tuple(part.numpy() for part in batch)


def to_tensors(batch: Any) -> Batch:
    """Return the tensors of a batch, whatever the form in which a worker sent it."""
    images, low, high = map(torch.as_tensor, batch)
    return images, low, high


class EvaluationCrops(Dataset[Batch]):
    """Crops as in prediction, in order, scaled to `size` pixels. They are read when needed.

    At the deployed resolution, they come from the array that the training uses, because it contains
    the prepared crops as they are. Smaller arrays contain scaled crops, so the files are read.
    """

    def __init__(self, sets: Sequence[SetPhotos], size: int) -> None:
        self._arrays = [crop_array(part.data, size) if size == CROP_SIZE else None for part in sets]
        self._sets = sets
        self._places = [(n, i) for n, part in enumerate(sets) for i in range(len(part.records))]
        self._low, self._high = _labels(join_records(sets))
        self._size = size

    def __len__(self) -> int:
        return len(self._places)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a complete batch."""
        images = [self._crop(*self._places[index]) for index in indices]
        return torch.from_numpy(np.stack(images)), self._low[indices], self._high[indices]

    def _crop(self, part: int, index: int) -> Image:
        array, photos = self._arrays[part], self._sets[part]
        if array is not None:
            return inner_crop(array[photos.rows[index]])
        return _scale(inner_crop(photos.data.crop(photos.records[index])), self._size)


def evaluation_loader(sets: Sequence[SetPhotos], size: int, batch_size: int) -> DataLoader[Batch]:
    """Return the crops of all datasets as in prediction, in order, scaled to `size` pixels."""
    crops = EvaluationCrops(sets, size)
    return DataLoader(crops, batch_size=batch_size, collate_fn=_share)
