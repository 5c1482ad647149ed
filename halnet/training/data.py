"""Training batches: augmented crops from one memory-mapped array.

OpenCV does the slow work, on uint8: one affine warp for flip, rotation, scale and shift, and one
3 x 4 matrix for brightness, contrast and saturation. All random numbers depend on the seed, the
epoch and the photo only. So the batches do not depend on the number of workers, and a resumed run
gets the same batches.
"""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from halnet.alignment import CROP_SIZE, PREPARED_SIZE, inner_crop
from halnet.datasets.prepared_dataset import PreparedDataset, Record
from halnet.files import replacing
from halnet.images import Image

# Augmentation. The first six values are drawn evenly from minus to plus the given value.
ROTATION = 12.0  # degrees
SCALE = 0.12  # logarithm of the size factor
SHIFT = 0.05  # share of the width or height of the crop
BRIGHTNESS = 0.25  # difference of the factor from 1
CONTRAST = 0.25  # difference of the factor from 1
SATURATION = 0.4  # difference of the factor from 1
GRAY_RATE = 0.05  # share of crops that lose their colour
ERASE_RATE = 0.25  # share of crops with an erased rectangle [Zhong et al., AAAI 2020]
ERASE_AREA = (0.02, 0.2)  # smallest and largest area of the rectangle, as a share of the crop
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 weights of R, G, B

Batch = tuple[Tensor, Tensor]  # N x S x S x 3 uint8 RGB, N ages in years (int64)


def crop_array(data: PreparedDataset, size: int) -> NDArray[np.uint8]:
    """Return all prepared crops, in the order of the index, scaled for training at `size` pixels.

    The result is N x P x P x 3 uint8 RGB and memory-mapped. P is round(256 * size / 224), because
    the crops keep their margin for augmentation. For each size, the array is written once, into the
    folder `cache` of the dataset.
    """
    side = round(PREPARED_SIZE * size / CROP_SIZE)
    path = data.root / "cache" / f"crops_{side}_{data.index_sha256[:16]}.npy"
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
    """Augmented crops of one epoch."""

    def __init__(
        self,
        array: NDArray[np.uint8],
        rows: Sequence[int],
        ages: Sequence[int],
        size: int,
        seed: tuple[int, int],
    ) -> None:
        """Use the crops `array[rows]` with their `ages` in years. `seed` is (seed, epoch)."""
        self._array = array
        self._rows = np.asarray(rows)
        self._ages = torch.tensor(ages)
        self._size = size
        self._seed = seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a complete batch: N x S x S x 3 uint8 RGB and N ages in years."""
        images = np.stack([self._augmented(index) for index in indices])
        return torch.from_numpy(images), self._ages[indices]

    def _augmented(self, index: int) -> Image:
        rng = np.random.default_rng((*self._seed, index))
        return augment(self._array[self._rows[index]], self._size, rng)


def augment(crop: Image, size: int, rng: np.random.Generator) -> Image:
    """Return a random variant of a crop that has its margin.

    `crop` is P x P x 3 uint8 RGB, and the result is `size` x `size` x 3 uint8 RGB.
    """
    u = rng.uniform(-1, 1, 6)
    rates = rng.random(3)
    side = crop.shape[0]
    matrix = cv2.getRotationMatrix2D(
        ((side - 1) / 2, (side - 1) / 2), ROTATION * u[0], math.exp(SCALE * u[1])
    )
    matrix[:, 2] += (size - side) / 2 + SHIFT * size * u[2:4]
    if rates[0] < 0.5:  # mirror the crop
        matrix[0] = [-matrix[0, 0], -matrix[0, 1], size - 1 - matrix[0, 2]]
    warped = cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR)
    saturation = 0.0 if rates[1] < GRAY_RATE else 1 + SATURATION * rng.uniform(-1, 1)
    colours = colour_matrix(1 + BRIGHTNESS * u[4], 1 + CONTRAST * u[5], saturation)
    image = np.asarray(cv2.transform(warped, colours), np.uint8)
    if rates[2] < ERASE_RATE:
        _erase(image, rng)
    return image


def colour_matrix(brightness: float, contrast: float, saturation: float) -> NDArray[np.float64]:
    """Return the 3 x 4 matrix that changes RGB pixels from 0 to 255 by three factors.

    Saturation comes first, then contrast about the value 128, then brightness.
    """
    saturate = saturation * np.eye(3) + (1 - saturation) * LUMA
    matrix = np.empty((3, 4))
    matrix[:, :3] = brightness * contrast * saturate
    matrix[:, 3] = brightness * 128 * (1 - contrast)
    return matrix


def _erase(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    size = image.shape[0]
    area = rng.uniform(*ERASE_AREA) * size * size
    ratio = math.exp(rng.uniform(-1, 1))  # height / width
    height, width = (min(size - 1, round(math.sqrt(area * f))) for f in (ratio, 1 / ratio))
    top, left = rng.integers(0, size - height), rng.integers(0, size - width)
    image[top : top + height, left : left + width] = rng.integers(0, 256, 3)


def training_loader(
    data: PreparedDataset,
    records: Sequence[Record],
    size: int,
    batch_size: int,
    seed: tuple[int, int],
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
) -> DataLoader[Batch]:
    """Return the shuffled, augmented batches of one epoch over `records`.

    `size` is the resolution in pixels, and `seed` is (seed, epoch). `workers` is the number of
    processes that load batches. `share` is (rank, number of processes): each training process gets
    its part of every batch of `batch_size`.
    """
    row = {record.source: i for i, record in enumerate(data.records)}
    rows = [row[record.source] for record in records]
    ages = [record.age for record in records]
    crops = TrainingCrops(crop_array(data, size), rows, ages, size, seed)
    # The order is a list, because a sampler would give another order each time it is iterated.
    order = np.random.default_rng(seed).permutation(len(crops))
    rank, processes = share
    part = min(batch_size, len(crops)) // processes  # photos of a batch for each process
    # A last batch of one or two photos would distort the statistics of batch norms, so only
    # complete batches are used.
    whole = order[: len(order) // (part * processes) * part * processes]
    return DataLoader(
        crops,
        batch_size=part,
        sampler=whole.reshape(-1, processes, part)[:, rank].ravel().tolist(),
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=torch.cuda.is_available(),
    )


def _unchanged(batch: Any) -> Any:
    """Return the batch, which `TrainingCrops` has already put together."""
    return batch


def evaluation_loader(
    data: PreparedDataset, records: Sequence[Record], size: int, batch_size: int
) -> DataLoader[Batch]:
    """Return the crops as in prediction, in order, scaled to `size` pixels."""
    images = np.stack([_scale(inner_crop(data.crop(record)), size) for record in records])
    ages = torch.tensor([record.age for record in records])
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(images), ages)
    return DataLoader(pairs, batch_size=batch_size)  # type: ignore[arg-type]
