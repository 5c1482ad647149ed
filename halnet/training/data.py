"""Training batches: crops from one memory-mapped array, augmented one by one.

What costs time is done on uint8 by OpenCV: one affine warp does flip, rotation, scale and shift,
one 3 x 4 matrix does brightness, contrast and saturation. All randomness comes from (seed, epoch,
photo), so the batches do not depend on workers or on where a run was resumed.
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

# Augmentation, each drawn evenly within plus or minus
ROTATION = 12.0  # degrees
SCALE = 0.12  # of log size
SHIFT = 0.05  # of the crop's side
BRIGHTNESS = 0.25  # factor
CONTRAST = 0.25  # factor
SATURATION = 0.4  # factor
GRAY_RATE = 0.05  # share of photos without colour
ERASE_RATE = 0.25  # share of photos with a rectangle erased [Zhong et al., AAAI 2020]
ERASE_AREA = (0.02, 0.2)  # of the crop
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 weights of R, G, B

Batch = tuple[Tensor, Tensor]  # N x S x S x 3 uint8 RGB, N ages in years (int64)


def crop_array(data: PreparedDataset, size: int) -> NDArray[np.uint8]:
    """Return all prepared crops, in the index's order, scaled for training at `size` pixels.

    N x P x P x 3 uint8 RGB, memory-mapped, with P = round(256 * size / 224): the margin for
    augmentation is kept. Made once a size, beside the crops.
    """
    side = round(PREPARED_SIZE * size / CROP_SIZE)
    path = data.root / "cache" / f"crops_{side}_{data.index_sha256[:16]}.npy"
    if not path.exists():
        header = {"descr": "|u1", "fortran_order": False}
        shape = (len(data.records), side, side, 3)
        # Written, not mapped: a full disk is then an error and not a signal that ends the program.
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
        """Take the crops `array[rows]` with their `ages`; `seed` is (run, epoch)."""
        self._array = array
        self._rows = np.asarray(rows)
        self._ages = torch.tensor(ages)
        self._size = size
        self._seed = seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a whole batch: N x S x S x 3 uint8 RGB and N ages."""
        images = np.stack([self._augmented(index) for index in indices])
        return torch.from_numpy(images), self._ages[indices]

    def _augmented(self, index: int) -> Image:
        rng = np.random.default_rng((*self._seed, index))
        return augment(self._array[self._rows[index]], self._size, rng)


def augment(crop: Image, size: int, rng: np.random.Generator) -> Image:
    """Return a random variant, `size` x `size` x 3 uint8 RGB, of a crop with its margin."""
    u = rng.uniform(-1, 1, 6)
    rates = rng.random(3)
    side = crop.shape[0]
    matrix = cv2.getRotationMatrix2D(
        ((side - 1) / 2, (side - 1) / 2), ROTATION * u[0], math.exp(SCALE * u[1])
    )
    matrix[:, 2] += (size - side) / 2 + SHIFT * size * u[2:4]
    if rates[0] < 0.5:  # mirror the result
        matrix[0] = [-matrix[0, 0], -matrix[0, 1], size - 1 - matrix[0, 2]]
    warped = cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR)
    saturation = 0.0 if rates[1] < GRAY_RATE else 1 + SATURATION * rng.uniform(-1, 1)
    colours = colour_matrix(1 + BRIGHTNESS * u[4], 1 + CONTRAST * u[5], saturation)
    image = np.asarray(cv2.transform(warped, colours), np.uint8)
    if rates[2] < ERASE_RATE:
        _erase(image, rng)
    return image


def colour_matrix(brightness: float, contrast: float, saturation: float) -> NDArray[np.float64]:
    """Return the 3 x 4 matrix for RGB pixels: saturation, then contrast about 128, brightness."""
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
    """Return the shuffled, augmented batches of one epoch over `records`; `seed` is (run, epoch).

    `share` is (rank, processes): each process gets its part of every batch of `batch_size`.
    """
    row = {record.source: i for i, record in enumerate(data.records)}
    rows = [row[record.source] for record in records]
    ages = [record.age for record in records]
    crops = TrainingCrops(crop_array(data, size), rows, ages, size, seed)
    # A fixed list: a sampler with a generator would give another order each time it is iterated.
    order = np.random.default_rng(seed).permutation(len(crops))
    rank, processes = share
    part = min(batch_size, len(crops)) // processes  # of a batch, for each process
    # A last batch of one or two would spoil the BN statistics: whole batches only.
    whole = order[: len(order) // (part * processes) * part * processes]
    return DataLoader(
        crops,
        batch_size=part,
        sampler=whole.reshape(-1, processes, part)[:, rank].ravel().tolist(),
        num_workers=workers,
        collate_fn=_as_is,
        pin_memory=torch.cuda.is_available(),
    )


def _as_is(batch: Any) -> Any:
    return batch


def evaluation_loader(
    data: PreparedDataset, records: Sequence[Record], size: int, batch_size: int
) -> DataLoader[Batch]:
    """Return the crops that prediction sees, scaled to `size` pixels, in order."""
    images = np.stack([_scale(inner_crop(data.crop(record)), size) for record in records])
    ages = torch.tensor([record.age for record in records])
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(images), ages)
    return DataLoader(pairs, batch_size=batch_size)  # type: ignore[arg-type]
