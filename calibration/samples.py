"""Samples: the crops that INT8 ranges and errors are measured on, and where they came from."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from halnet.datasets.prepared import PreparedDataset, Record
from halnet.errors import DatasetError
from halnet.runtimes import Crops

SPLIT = "val"  # never the one that results are reported on
MIN_SAMPLES = 16
MIN_DECADES = 3  # of the ages: ranges measured on faces of one age do not hold for the others


@dataclass(frozen=True, eq=False)
class Samples:
    """Crops to calibrate on."""

    crops: Crops  # N x 224 x 224 x 3 uint8 RGB
    origin: dict[str, Any]  # JSON-ready, for the manifest

    def __len__(self) -> int:
        return len(self.crops)


def pick_samples(data: PreparedDataset, count: int, seed: int = 0) -> Samples:
    """Return `count` crops of the validation split, balanced over decades of age and sex.

    Each group gives one photo in turn, in an order drawn from `seed`, until there are enough.
    Raises DatasetError where there are fewer photos, or too few ages among them.
    """
    records = pick_records(data.select(SPLIT), count, seed)
    decades = {record.age // 10 for record in records}
    if len(decades) < MIN_DECADES:
        raise DatasetError(
            f"{data.root}: expected photos of at least {MIN_DECADES} decades of age to calibrate "
            f"on, found {len(decades)}; prepare a dataset of more ages"
        )
    origin = {
        "data": f"{data.dataset} {SPLIT} split {data.split_sha256[:12]}",
        "seed": seed,
        "photos": [record.source for record in records],
    }
    return Samples(data.inner_crops(records), origin)


def full_batches(crops: Crops, size: int) -> Iterator[tuple[Crops, int]]:
    """Yield batches of `size` crops, and how many of each are not repeats that fill the last."""
    for start in range(0, len(crops), size):
        part = crops[start : start + size]
        yield np.resize(part, (size, *part.shape[1:])), len(part)


def pick_records(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """Return `count` of the records, as many of each decade and sex as there are, by turns."""
    if len(records) < MIN_SAMPLES:
        raise DatasetError(
            f"expected at least {MIN_SAMPLES} photos in the {SPLIT} split to calibrate on, "
            f"found {len(records)}"
        )
    if not MIN_SAMPLES <= count <= len(records):
        raise DatasetError(
            f"expected {MIN_SAMPLES} to {len(records)} photos to calibrate on, found {count} asked "
            f"for; the {SPLIT} split has no more"
        )
    order = np.random.default_rng(seed).permutation(len(records))
    groups: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for index in order:
        record = records[index]
        groups[record.age // 10, record.sex].append(record)
    turns = zip_longest(*(groups[key] for key in sorted(groups)))
    return [record for turn in turns for record in turn if record is not None][:count]
