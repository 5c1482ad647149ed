"""Validation photos: the photos of all datasets on which INT8 is calibrated and judged."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from halnet.datasets.collection import DataCollection
from halnet.datasets.crop_hash import find_close
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record, spread
from halnet.errors import DatasetError
from halnet.network.checkpoint import Checkpoint
from halnet.runtimes.base import Crops

SPLIT = "val"  # never the split that results are reported on


@dataclass(frozen=True, eq=False)
class ValidationPhotos:
    """Validation photos of one or several prepared datasets."""

    data: DataCollection
    records: tuple[Record, ...]  # one dataset after the other; each states the name of its dataset

    def __len__(self) -> int:
        return len(self.records)

    def __str__(self) -> str:
        names = (f"{n} {SPLIT} split {d.split_sha256[:12]}" for n, d in self.data.sets.items())
        return ", ".join(names)

    @property
    def folders(self) -> str:
        """The folders of the datasets, to name the photos in an error."""
        return ", ".join(str(data.root) for data in self.data.sets.values())

    @property
    def error_name(self) -> str:
        """What the mean error of these photos is: some labels may be ranges of ages."""
        return "MAE" if all(record.is_exact for record in self.records) else "mean error"

    def select(self, limit: int = 0) -> tuple[Record, ...]:
        """Return at most `limit` photos, spread evenly over all datasets; 0 stands for all."""
        return spread(self.records, limit)

    def crops(self, records: tuple[Record, ...]) -> Crops:
        """Return the crops of some of the photos, N x 224 x 224 x 3 uint8 RGB."""
        return self.data.inner_crops(records)

    def to_dict(self) -> dict[str, Any]:
        """Return the split and the number of photos of each dataset, for the manifest."""
        counts = Counter(record.dataset for record in self.records)
        return {
            name: {"split": SPLIT, "split_sha256": data.split_sha256, "photos": counts[name]}
            for name, data in self.data.sets.items()
        }


def find_validation_photos(data: DataCollection, checkpoint: Checkpoint) -> ValidationPhotos:
    """Return the validation photos of all datasets.

    Of a single dataset, they are all photos of the split. Of several datasets, two kinds of photos
    are left out: copies of a test photo of any of them, and photos of a dataset that the checkpoint
    was trained on by another split or as copies in another dataset, if it states its photos.

    Raises DatasetError if no photo is left.
    """
    if len(data.sets) == 1:
        ((name, only),) = data.sets.items()
        records = only.select(SPLIT)
        return ValidationPhotos(data, tuple(replace(record, dataset=name) for record in records))
    known = {name: _find_trained_on(part, checkpoint) for name, part in data.sets.items()}
    found = tuple(r for r in data.select(SPLIT) if r.source not in known[r.dataset])
    photos = ValidationPhotos(data, found)
    if not found:
        raise DatasetError(
            f"{photos.folders}: expected validation photos that the model was not trained on, "
            "found none; name another dataset"
        )
    return photos


def _find_trained_on(data: PreparedDataset, checkpoint: Checkpoint) -> set[str]:
    """Return the validation photos that a checkpoint was trained on, by their sources.

    There are none if it was trained with this split, or if it does not state its photos.
    """
    home = {trained.split_sha256 for trained in checkpoint.metadata.datasets}
    if checkpoint.trained_on is None or data.split_sha256 in home:
        return set()
    rows = [i for i, record in enumerate(data.records) if record.split == SPLIT]
    pairs = find_close(data.hashes[np.array(rows, np.int64)], checkpoint.trained_on)
    return {data.records[rows[i]].source for i, _ in pairs}
