"""A prepared dataset: the aligned crops, the index and the split that `halnet prepare` writes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.artifact import KNOWN_INPUTS, sha256_file
from halnet.cache import cache_folder
from halnet.datasets.crop_hash import hash_crop
from halnet.datasets.record import Record, read_index, spread
from halnet.datasets.split import SPLIT_FILE, SPLITS, read_split
from halnet.errors import ConfigError, DatasetError
from halnet.faces.alignment import PREPARED_SIZE, inner_crop
from halnet.files import replacing
from halnet.json_text import parse_json
from halnet.photos.images import Image
from halnet.placing import check_target
from halnet.results import Outputs, join_outputs
from halnet.trained_on import Hashes

INDEX_FILE = "index.csv"
REJECTS_FILE = "rejects.csv"
SUMMARY_FILE = "prepared.json"
SUMMARY_FIELDS = (  # that every version writes
    *("dataset", "photos", "indexed", "rejected", "several_faces", "landmark_error", "split"),
    *("split_sha256", "seed", "listing_sha256", "input_fingerprint"),
)
CROP_FOLDER = "crops"
CACHE_FOLDER = "cache"  # in a dataset, of what can be computed again
CACHED_DATASETS = "datasets"  # the same in the cache folder of the user, for all datasets
BATCH = 32  # number of crops that are in memory at the same time

OnProgress = Callable[[int, int], None]  # takes the number of finished photos and of all photos


def no_progress(done: int, total: int) -> None:
    """Ignore the progress."""


class CropReader(ABC):
    """Reads prepared crops and runs models on them."""

    @abstractmethod
    def crop(self, record: Record) -> Image:
        """Return the prepared crop, 256 x 256 x 3 uint8 RGB.

        Raises DatasetError if it is missing or damaged.
        """

    def inner_crops(self, records: Sequence[Record]) -> NDArray[np.uint8]:
        """Return the crops as in prediction, N x 224 x 224 x 3 uint8 RGB."""
        return np.stack([inner_crop(self.crop(record)) for record in records])

    def outputs(
        self,
        run: Callable[[NDArray[np.uint8]], Outputs],
        records: Sequence[Record],
        on_progress: OnProgress = no_progress,
    ) -> Outputs:
        """Run a model on the crops of `records` and return its outputs in the same order.

        `run` takes N x 224 x 224 x 3 uint8 RGB crops. `on_progress` is called after each batch.
        """
        parts = []
        for start in range(0, len(records), BATCH):
            parts.append(run(self.inner_crops(records[start : start + BATCH])))
            on_progress(min(start + BATCH, len(records)), len(records))
        return join_outputs(parts)


class PreparedDataset(CropReader):
    """A folder that `halnet prepare` wrote.

    Raises DatasetError if the folder is not complete, or if its crops are not made as this version
    of halnet makes them.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not (self.root / SUMMARY_FILE).exists():
            raise DatasetError(
                f"{root}: expected a prepared dataset, found no {SUMMARY_FILE}; run halnet prepare "
                "(if it was interrupted, run it again)"
            )
        summary = read_summary(self.root)
        self.kind = str(summary["dataset"])  # name in `sources.DATASETS`, if it is known
        fingerprint = summary["input_fingerprint"]
        if fingerprint not in KNOWN_INPUTS:
            raise DatasetError(
                f"{root}: expected crops with the input fingerprint {' or '.join(KNOWN_INPUTS)}, "
                f"found {fingerprint}; run halnet prepare into a new folder"
            )
        self.input = KNOWN_INPUTS[fingerprint]  # how the crops were made
        split = read_split(self.root / SPLIT_FILE)
        stated = str(summary["split_sha256"])
        if split.sha256 != stated:
            raise DatasetError(
                f"{root}: expected the split with SHA-256 {stated[:12]}..., which "
                f"{SUMMARY_FILE} states, found {split.sha256[:12]}...; run halnet prepare into "
                "this folder again"
            )
        self.dataset = split.dataset
        self.split_sha256 = split.sha256
        self.records = read_index(self.root / INDEX_FILE)
        if len(self.records) != summary["indexed"]:
            raise DatasetError(
                f"{root}: expected {summary['indexed']} photos in {INDEX_FILE}, found "
                f"{len(self.records)}; run halnet prepare into this folder again"
            )
        # The index contains detection scores, so its hash changes if photos or the detector change.
        self.index_sha256 = sha256_file(self.root / INDEX_FILE)
        # The split may list more photos: those that a later run of halnet prepare rejected.
        parts = split.parts()
        if any(parts.get(record.source) != record.split for record in self.records):
            raise DatasetError(
                f"{root}: expected {INDEX_FILE} and {SPLIT_FILE} to state the same split for each "
                "photo, found a difference; run halnet prepare into this folder again"
            )

    def select(self, split: str, limit: int = 0) -> tuple[Record, ...]:
        """Return the photos of one split, in order.

        A `limit` above 0 is the largest number of photos, which are spread evenly over the split.
        Raises DatasetError if the split is empty or unknown.
        """
        records = tuple(record for record in self.records if record.split == split)
        if not records:
            raise DatasetError(
                f"{self.root}: expected photos in the split {split}, found none; the splits are "
                f"{', '.join(SPLITS)}"
            )
        return spread(records, limit)

    def crop(self, record: Record) -> Image:
        """Return the prepared crop, 256 x 256 x 3 uint8 RGB.

        Raises DatasetError if it is missing or damaged.
        """
        return read_crop(crop_path(self.root, record.source))

    @cached_property
    def hashes(self) -> Hashes:
        """Hashes of all crops, in the order of the index.

        For the index of an older version, they are computed once, and kept where `cache_path` says.
        """
        known = [record.hash for record in self.records if record.hash is not None]
        if len(known) == len(self.records):
            return np.array(known, np.uint64)
        path = self.cache_path("hashes")
        if path.exists():
            return np.asarray(np.load(path), np.uint64)
        hashes = np.array([hash_crop(self.crop(record)) for record in self.records], np.uint64)
        try:
            with replacing(path) as temporary:
                np.save(temporary, hashes)
        except OSError:  # the disk is full
            pass
        return hashes

    def cache_path(self, name: str) -> Path:
        """Return the path of an array that is computed once, and that may not exist yet.

        It is in the folder `cache` of the dataset. If it is not there and cannot be written there,
        it is in the cache folder of the user, which the environment variable HALNET_CACHE names.
        """
        file = f"{name}_{self.index_sha256[:16]}.npy"
        path = self.root / CACHE_FOLDER / file
        if not path.exists():
            try:
                check_target(path)
            except ConfigError:
                return cache_folder() / CACHED_DATASETS / file
        return path


def read_crop(path: Path) -> Image:
    """Return a prepared crop, 256 x 256 x 3 uint8 RGB.

    Raises DatasetError if it is missing or damaged.
    """
    # OpenCV gets the bytes of the file, since it crashes on a name that is not UTF-8.
    data = np.fromfile(path, np.uint8) if path.exists() else np.empty(0, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None or image.shape != (PREPARED_SIZE, PREPARED_SIZE, 3):
        found = "a damaged file; delete it and" if path.exists() else "none;"
        raise DatasetError(
            f"{path}: expected a crop of {PREPARED_SIZE} x {PREPARED_SIZE} pixels, found {found} "
            "run halnet prepare into this folder again"
        )
    return np.asarray(image, np.uint8)


def crop_path(root: Path, source: str) -> Path:
    """Return the path of the prepared crop of a photo."""
    path = PurePosixPath(source)
    return root / CROP_FOLDER / path.with_name(path.name + ".png")


def read_summary(root: Path) -> dict[str, Any]:
    """Return the values of `prepared.json`. Raises DatasetError if it is damaged."""
    path = root / SUMMARY_FILE
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict) or not set(SUMMARY_FIELDS) <= set(values):
        raise DatasetError(
            f"{path}: expected what halnet prepare writes last, found a damaged file; delete it "
            "and run halnet prepare into this folder again"
        )
    return values
