"""The photos of a training: of which datasets, with which labels, and how often each is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import N_AGES
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.errors import ConfigError
from halnet.training.config import TrainConfig
from halnet.training.losses import count_ages, mean_over_years, smooth_density

# Numbers that end the seed (seed, epoch, photo, copy, stream) of random numbers. Augmentation has
# the seed (seed, epoch, photo, copy), and the order of an epoch (seed, epoch). Whole batches have
# the number of the batch and of the process in place of the photo and the copy.
CHANGES_STREAM, DRAWS_STREAM, BATCH_STREAM = 1, 2, 3

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
# What follows if a dataset has no photos in a split.
WITHOUT = {
    "train": "the model is trained without this dataset",
    "val": "the validation error does not include this dataset",
    "test": "the model is not tested on this dataset",
}

Years = NDArray[np.int64]


@dataclass(frozen=True)
class SetPhotos:
    """Photos of one dataset in one split."""

    name: str  # of the dataset, unique in its collection
    data: PreparedDataset
    records: tuple[Record, ...]

    @property
    def is_exact(self) -> bool:
        """Whether all labels are exact ages. Otherwise, errors are distances to ranges."""
        return all(record.is_exact for record in self.records)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The row of each photo in the index of its dataset."""
        row = {record.source: i for i, record in enumerate(self.data.records)}
        return np.array([row[record.source] for record in self.records], np.int64)


@dataclass(frozen=True)
class PhotoCounts:
    """How many photos of one dataset a run uses, and how many it leaves out, by split."""

    name: str  # of the dataset
    used: Mapping[str, int]
    copies: Mapping[str, int]  # left out, because another split has a copy; see `DataCollection`

    @property
    def notes(self) -> list[str]:
        """A line with the numbers, and a line for each split that has no photos."""
        used = ", ".join(f"{count:,} {SPLIT_NAMES[split]}" for split, count in self.used.items())
        lost = ", ".join(
            f"{count:,} of {SPLIT_NAMES[split]}" for split, count in self.copies.items() if count
        )
        left_out = f"left out as copies of photos in another split: {lost or 'none'}"
        empty = [split for split, count in self.used.items() if not count]
        return [
            f"{self.name}: {used} photos; {left_out}",
            *(
                f"{self.name}: no {SPLIT_NAMES[split]} photos, so {WITHOUT[split]}"
                for split in empty
            ),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON."""
        return {"photos": dict(self.used), "copies_left_out": dict(self.copies)}


def count_photos(
    data: DataCollection, splits: Mapping[str, Sequence[SetPhotos]]
) -> tuple[PhotoCounts, ...]:
    """Return how many photos of each dataset a run uses, from those that it uses of each split."""
    used = {
        split: {part.name: len(part.records) for part in sets} for split, sets in splits.items()
    }
    copies = data.twins_removed
    return tuple(
        PhotoCounts(
            name,
            {split: counts.get(name, 0) for split, counts in used.items()},
            {split: copies[name].get(split, 0) for split in used if split != "test"},
        )
        for name in data.sets
    )


def photos_by_set(data: DataCollection, split: str, limit: int = 0) -> tuple[SetPhotos, ...]:
    """Return the photos of one split, by dataset. Datasets without photos in it are left out.

    A `limit` above 0 is the largest number of photos of each dataset, which are spread evenly over
    its split. Raises DatasetError if there are no photos.
    """
    records = data.select(split, limit)
    found = (
        SetPhotos(name, part, tuple(record for record in records if record.dataset == name))
        for name, part in data.sets.items()
    )
    return tuple(photos for photos in found if photos.records)


def join_records(sets: Sequence[SetPhotos]) -> tuple[Record, ...]:
    """Return the records of all datasets, in order."""
    return tuple(record for photos in sets for record in photos.records)


def label_ends(records: Sequence[Record]) -> tuple[Years, Years]:
    """Return the lowest and the highest age of the label of each photo, in years."""
    low = np.array([record.age_low for record in records], np.int64)
    return low, np.array([record.age_high for record in records], np.int64)


@dataclass(frozen=True, eq=False)
class TrainingPhotos:
    """The training photos of all datasets, and how often each of them is drawn in an epoch."""

    sets: tuple[SetPhotos, ...]
    # N expected numbers of draws in an epoch, with the mean 1. None: each photo is drawn once.
    rates: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The records of all photos. The number of a photo is its place here."""
        return join_records(self.sets)

    def draw(self, seed: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the photos of an epoch in their order, and which copy of its photo each one is.

        `seed` is (seed, epoch). Both results have as many values as there are photos. With `rates`,
        a photo is drawn its expected number of times, rounded up or down at random (systematic
        sampling). Its first copy has the number 0.
        """
        count = len(self)
        if self.rates is None:
            return np.random.default_rng(seed).permutation(count), np.zeros(count, np.int64)
        rng = np.random.default_rng((*seed, 0, 0, DRAWS_STREAM))
        line = rng.permutation(count)
        ends = np.cumsum(self.rates[line])
        ends *= count / ends[-1]
        ends[-1] = count
        before = np.floor(ends + rng.random()).astype(np.int64)
        draws: Years = np.diff(before, prepend=0)
        photos = np.repeat(line, draws)
        copies = np.arange(count) - np.repeat(np.cumsum(draws) - draws, draws)
        order = rng.permutation(count)
        return photos[order], copies[order]


def training_photos(data: DataCollection, config: TrainConfig) -> TrainingPhotos:
    """Return the training photos of a recipe. Raises ConfigError if it has unknown names of sets.

    Without shares and without balanced sampling, each photo is drawn once in an epoch.
    """
    shares = {share.name: share.weight for share in config.shares}
    unknown = set(shares) - set(data.sets)
    if unknown:
        raise ConfigError(
            f"share: expected names among {', '.join(data.sets)}, found "
            f"{', '.join(sorted(unknown))}"
        )
    sets = photos_by_set(data, "train", config.photos)
    if not shares and not config.balance:
        return TrainingPhotos(sets)
    return TrainingPhotos(sets, draw_rates(sets, shares, config.balance))


def draw_rates(
    sets: Sequence[SetPhotos], shares: Mapping[str, float], power: float
) -> NDArray[np.float64]:
    """Return how often each photo is drawn in an epoch, N values with the mean 1.

    A rate is proportional to the share of the dataset (1 if it has none in `shares`) times the
    density of the age to the power of -`power`. The density is that of all photos, which count as
    much as the share of their dataset, and is smoothed as for LDS. A photo whose label is a range
    counts evenly for all its years, and gets the mean of their rates.
    """
    weights = [shares.get(part.name, 1.0) for part in sets]
    ends = [label_ends(part.records) for part in sets]
    counts = np.zeros(N_AGES)
    for weight, (low, high) in zip(weights, ends, strict=True):
        counts += weight * count_ages(low, high)
    factors = mean_over_years(smooth_density(counts) ** -power)
    parts = [weight * factors[low, high] for weight, (low, high) in zip(weights, ends, strict=True)]
    rates = np.concatenate(parts)
    return np.asarray(rates / rates.mean())
