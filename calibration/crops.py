"""Calibration crops: the crops that INT8 ranges are measured on, and how they are picked."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np

from halnet.calibration.validation_photos import SPLIT, ValidationPhotos
from halnet.datasets.record import Record
from halnet.errors import DatasetError
from halnet.runtimes.base import Crops

MIN_PHOTOS = 16
MIN_DECADES = 3  # of ages: ranges measured on faces of one age do not fit the others
BATCH = 8  # crops of one inference while ranges are measured, where the graph takes any number
# How many photos each of several datasets gives.
RULE = (
    "the groups of one sex and one decade of age take turns, and in each group the datasets take "
    "turns; a group or dataset without further photos is skipped"
)

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class CalibrationCrops:
    """Crops to calibrate on."""

    crops: Crops  # N x 224 x 224 x 3 uint8 RGB
    origin: dict[str, Any]  # JSON-ready, for the manifest
    counts: Mapping[str, int] = field(default_factory=dict)  # of each of several datasets, by name
    left_out: int = 0  # number of photos that are copies of test photos

    def __len__(self) -> int:
        return len(self.crops)

    def __str__(self) -> str:
        parts = ", ".join(f"{count} of {name}" for name, count in self.counts.items())
        return f"{len(self)} crops" + (f" ({parts})" if parts else "")


def pick_calibration_crops(photos: ValidationPhotos, count: int, seed: int = 0) -> CalibrationCrops:
    """Return `count` crops of validation photos, balanced over decades of age and sex.

    The groups take turns, and each gives one photo at a time, in an order that `seed` decides. With
    several datasets, these take turns in each group. Raises DatasetError where there are too few
    photos, or too few decades of age among them.
    """
    data = photos.data
    records = pick_records(photos.records, count, seed, f"{photos.folders}, {SPLIT} split")
    crops, origin = data.inner_crops(records), describe_origin(str(photos), seed, records)
    if len(data.sets) == 1:
        return CalibrationCrops(crops, origin)
    sources = {name: [r.source for r in records if r.dataset == name] for name in data.sets}
    counts = {name: len(own) for name, own in sources.items()}
    return CalibrationCrops(crops, {**origin, "photos": sources, "rule": RULE}, counts)


def describe_origin(data: str, seed: int, records: Sequence[Record]) -> dict[str, Any]:
    """Return what the manifest states about calibration photos; `data` names where they lie."""
    return {"data": data, "seed": seed, "photos": [record.source for record in records]}


def full_batches(crops: Crops, size: int) -> Iterator[tuple[Crops, int]]:
    """Yield batches of `size` crops, and how many crops of each batch are new.

    The last batch is filled up with copies of its crops.
    """
    for start in range(0, len(crops), size):
        part = crops[start : start + size]
        yield np.resize(part, (size, *part.shape[1:])), len(part)


def pick_records(
    records: Sequence[Record], count: int, seed: int, data: str = "data"
) -> list[Record]:
    """Return at most `count` of the records, balanced over decades of age, sex and datasets.

    The groups take turns, so that each gives the same number of records, or all that it has. In a
    group, its datasets take turns in the same way. A range of ages counts as its middle. `data`
    names the records in an error. Raises DatasetError where there are too few records, or too few
    decades of age among them.
    """
    if len(records) < MIN_PHOTOS:
        raise DatasetError(
            f"{data}: expected at least {MIN_PHOTOS} photos of faces to calibrate on, "
            f"found {len(records)}; add photos"
        )
    check_count(count, data)
    groups: dict[tuple[int, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for index in np.random.default_rng(seed).permutation(len(records)):
        record = records[index]
        decade = (record.age_low + record.age_high) // 2 // 10
        groups[decade, record.sex][record.dataset].append(record)
    decades = {decade for decade, _ in groups}
    if len(decades) < MIN_DECADES:
        raise DatasetError(
            f"{data}: expected faces of at least {MIN_DECADES} decades of age to calibrate on, "
            f"found {len(decades)}; add photos of other ages"
        )
    return take_turns(take_turns(groups[key].values()) for key in sorted(groups))[:count]


def check_count(count: int, data: str) -> None:
    """Raise DatasetError for a number of calibration photos that is too small."""
    if count < MIN_PHOTOS:
        raise DatasetError(
            f"{data}: expected at least {MIN_PHOTOS} calibration photos, found {count}; "
            "set --calibration-photos"
        )


def take_turns(groups: Iterable[Iterable[T]]) -> list[T]:
    """Return the first item of each group, then the second of each that has one, and so on."""
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]
