"""Several prepared datasets that are used together, without copies of photos in two parts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from halnet.datasets.crop_hash import describe_crop
from halnet.datasets.prepared_dataset import CropReader, PreparedDataset
from halnet.datasets.record import Record, spread
from halnet.datasets.split import SPLITS
from halnet.datasets.twins import find_twins_between
from halnet.errors import DatasetError
from halnet.photos.images import Image


class DataCollection(CropReader):
    """One or several prepared datasets. Each record states the name of its dataset.

    A photo with a copy in another part, of the same dataset or of another one, may not be used: the
    test keeps its photos, validation loses copies of the test, and training loses copies of both.

    Raises DatasetError if no dataset is given, or one of them twice.
    """

    def __init__(self, sets: Sequence[PreparedDataset]) -> None:
        if not sets:
            raise DatasetError("expected at least one prepared dataset, found none; name one")
        self.sets: dict[str, PreparedDataset] = {}  # by name; a name that repeats gets a number
        for data in sets:
            for name, other in self.sets.items():
                if other.index_sha256 == data.index_sha256:
                    raise DatasetError(
                        f"{data.root}: expected different datasets, found the same photos as in "
                        f"{other.root} ({name}); name each dataset once"
                    )
            self.sets[_unused_name(data.dataset, self.sets)] = data

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The photos of all datasets, one dataset after the other, without copies of others."""
        return tuple(
            record
            for name, data in self.sets.items()
            for record in self._name_records(name, data)
            if record.source not in self._twins[name]
        )

    @property
    def twins_removed(self) -> dict[str, dict[str, int]]:
        """Number of photos that are left out as copies, by the name of the dataset and the part."""
        return {name: dict(Counter(twins.values())) for name, twins in self._twins.items()}

    def select(self, split: str, limit: int = 0) -> tuple[Record, ...]:
        """Return the photos of one split, in order, one dataset after the other.

        A `limit` above 0 is the largest number of photos of each dataset, which are spread evenly
        over its split. Datasets without photos in the split are left out. Raises DatasetError if
        all datasets are, or if the split is unknown.
        """
        # The test loses no photo, so its copies need not be searched.
        removed = {} if split == "test" else self._twins
        found = tuple(
            record
            for name, data in self.sets.items()
            for record in spread(
                [
                    record
                    for record in self._name_records(name, data)
                    if record.split == split and record.source not in removed.get(name, ())
                ],
                limit,
            )
        )
        if not found:
            raise DatasetError(
                f"{', '.join(str(data.root) for data in self.sets.values())}: expected photos in "
                f"the split {split}, found none; the splits are {', '.join(SPLITS)}"
            )
        return found

    def crop(self, record: Record) -> Image:
        """Return the prepared crop of a record of this collection, 256 x 256 x 3 uint8 RGB.

        Raises DatasetError if it is missing or damaged.
        """
        return self.sets[record.dataset].crop(record)

    @staticmethod
    def _name_records(name: str, data: PreparedDataset) -> list[Record]:
        return [replace(record, dataset=name) for record in data.records]

    @cached_property
    def _twins(self) -> dict[str, dict[str, str]]:
        """The photos to leave out: their split, by their source, by the name of the dataset."""
        records = [r for name, data in self.sets.items() for r in self._name_records(name, data)]
        hashes = np.concatenate([data.hashes for data in self.sets.values()])
        descriptions: dict[int, NDArray[np.float32]] = {}

        def describe(index: int) -> NDArray[np.float32]:
            if index not in descriptions:
                descriptions[index] = describe_crop(self.crop(records[index]))
            return descriptions[index]

        kept: list[int] = []
        twins: dict[str, dict[str, str]] = {name: {} for name in self.sets}
        for split in reversed(SPLITS):  # the test first
            part = [i for i, record in enumerate(records) if record.split == split]
            lost = {i for i, _ in find_twins_between(hashes, part, kept, describe)}
            for i in lost:
                twins[records[i].dataset][records[i].source] = split
            kept += [i for i in part if i not in lost]
        return twins


def _unused_name(name: str, names: dict[str, PreparedDataset]) -> str:
    """Return `name`, or `name` with the first number from 2 on that is not used."""
    candidates = [name, *(f"{name}-{number}" for number in range(2, len(names) + 2))]
    return next(candidate for candidate in candidates if candidate not in names)
