"""A prepared dataset: aligned crops, an index and a split, as `halnet prepare` leaves them."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.alignment import PREPARED_SIZE, inner_crop
from halnet.artifact import INPUT, sha256_file
from halnet.datasets.split import SPLIT_FILE, SPLITS, read_split
from halnet.errors import DatasetError
from halnet.images import Image
from halnet.results import Outputs, join_outputs

INDEX_FILE = "index.csv"
REJECTS_FILE = "rejects.csv"
SUMMARY_FILE = "prepared.json"
CROP_FOLDER = "crops"
BATCH = 32  # crops in memory at a time

OnProgress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Record:
    """One line of the index."""

    source: str  # path relative to the dataset's folder
    age: int  # years
    sex: str  # "female", "male" or ""
    split: str  # "train", "val" or "test"


class PreparedDataset:
    """Reads what `halnet prepare` wrote. Raises DatasetError where that is not complete."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not (self.root / SUMMARY_FILE).exists():
            raise DatasetError(
                f"{root}: expected a prepared dataset, found no {SUMMARY_FILE}; "
                "run halnet prepare (again, if it was interrupted)"
            )
        made_by = read_summary(self.root)["input_fingerprint"]
        if made_by != INPUT.fingerprint():
            raise DatasetError(
                f"{root}: expected crops of the input fingerprint {INPUT.fingerprint()}, found "
                f"{made_by}; run halnet prepare into a fresh folder"
            )
        split = read_split(self.root / SPLIT_FILE)
        self.dataset = split.dataset
        self.split_sha256 = split.sha256
        part = {source: name for name in SPLITS for source in split.photos[name]}
        self.records = _read_index(self.root / INDEX_FILE)
        # Names, ages and detection scores: another when the photos or the way to find faces are.
        self.index_sha256 = sha256_file(self.root / INDEX_FILE)
        if {record.source: record.split for record in self.records} != part:
            raise DatasetError(f"{root}: {INDEX_FILE} and {SPLIT_FILE} do not list the same photos")

    def select(self, split: str, limit: int = 0) -> tuple[Record, ...]:
        """Return the records of one split, in order; with `limit`, so many, spread evenly over it.

        Raises DatasetError for an empty split.
        """
        records = tuple(record for record in self.records if record.split == split)
        if not records:
            raise DatasetError(f"{self.root}: expected photos in the split {split}, found none")
        if not limit or limit >= len(records):
            return records
        return tuple(records[i * len(records) // limit] for i in range(limit))

    def crop(self, record: Record) -> Image:
        """Return the prepared crop, 256 x 256 x 3 uint8 RGB."""
        path = crop_path(self.root, record.source)
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) if path.exists() else None
        if image is None or image.shape != (PREPARED_SIZE, PREPARED_SIZE, 3):
            raise DatasetError(
                f"{path}: the crop is missing or damaged; run halnet prepare into a fresh folder"
            )
        return np.asarray(image, np.uint8)

    def inner_crops(self, records: Sequence[Record]) -> NDArray[np.uint8]:
        """Return the crops that prediction sees, N x 224 x 224 x 3 uint8 RGB."""
        return np.stack([inner_crop(self.crop(record)) for record in records])

    def outputs(
        self,
        run: Callable[[NDArray[np.uint8]], Outputs],
        records: Sequence[Record],
        on_progress: OnProgress = no_progress,
    ) -> Outputs:
        """Return what `run` gives for the crops that prediction sees, in the order of `records`.

        `run` takes N x 224 x 224 x 3 uint8 RGB; `on_progress` is called with (done, total).
        """
        parts = []
        for start in range(0, len(records), BATCH):
            parts.append(run(self.inner_crops(records[start : start + BATCH])))
            on_progress(min(start + BATCH, len(records)), len(records))
        return join_outputs(parts)


def crop_path(root: Path, source: str) -> Path:
    """Return where the prepared crop of a photo lies."""
    path = PurePosixPath(source)
    return root / CROP_FOLDER / path.with_name(path.name + ".png")


def read_summary(root: Path) -> dict[str, Any]:
    """Return the values of `prepared.json`. Raises DatasetError where it is damaged."""
    path = root / SUMMARY_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not {"input_fingerprint", "split_sha256", "listing_sha256"} <= set(values):
            raise KeyError("a field is missing")
        return dict(values)
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: damaged ({error}); delete it and run halnet prepare"
        ) from error


def _read_index(path: Path) -> tuple[Record, ...]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return tuple(
                Record(row["source"], int(row["age"]), row["sex"], row["split"])
                for row in csv.DictReader(file)
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: damaged ({error!r}); run halnet prepare into a fresh folder"
        ) from error
