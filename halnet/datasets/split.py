"""The split: a file that assigns each photo to training, validation or test."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.errors import DatasetError
from halnet.files import write_text
from halnet.packages import needs

SPLIT_FILE = "dataset_split_stratified.json"
SPLITS = ("train", "val", "test")
FOLDS = 20  # one fold, 5 % of the photos, is for validation and one for the test


@dataclass(frozen=True)
class Split:
    """The photos of each split, in the order of the dataset."""

    dataset: str
    seed: int
    photos: dict[str, tuple[str, ...]]  # "train", "val" and "test": sources of their photos

    @property
    def sha256(self) -> str:
        """SHA-256 of the content. Each result that depends on the split states it."""
        text = json.dumps(self._content(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def _content(self) -> dict[str, object]:
        return {"dataset": self.dataset, "seed": self.seed, "photos": self.photos}

    def write(self, path: Path) -> None:
        """Write the split file."""
        content = {"sha256": self.sha256, **self._content()}
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_split(path: Path) -> Split:
    """Read a split file. Raises DatasetError if it is damaged or does not match its SHA-256."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        split = Split(
            content["dataset"],
            content["seed"],
            {name: tuple(content["photos"][name]) for name in SPLITS},
        )
        stated = content["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: expected a split file, found a missing or damaged one ({error!r}); run "
            "halnet prepare into a new folder"
        ) from error
    if split.sha256 != stated:
        raise DatasetError(
            f"{path}: expected content with SHA-256 {stated[:12]}..., found "
            f"{split.sha256[:12]}..., so the file was edited; run halnet prepare into a new folder"
        )
    return split


def stratified_split(dataset: str, sources: Sequence[str], ages: Sequence[int], seed: int) -> Split:
    """Assign 90 % of the photos to training, 5 % to validation and 5 % to the test.

    Ages have the same distribution in each split. Raises DatasetError for fewer than 20 photos.
    """
    with needs("the split of a dataset", "train"):
        from sklearn.model_selection import StratifiedKFold

    if len(sources) < FOLDS:
        raise DatasetError(
            f"expected at least {FOLDS} photos with a face, found {len(sources)}; add photos"
        )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    groups = folds.split(np.zeros(len(sources)), _strata(ages))
    split_of = np.full(len(sources), SPLITS[0], dtype=object)
    for name, (_, picked) in zip(SPLITS[1:], groups, strict=False):
        split_of[picked] = name
    assigned = list(zip(sources, split_of, strict=True))
    photos = {name: tuple(s for s, split in assigned if split == name) for name in SPLITS}
    return Split(dataset, seed, photos)


def _strata(ages: Sequence[int]) -> NDArray[np.int64]:
    """Return a stratum for each photo: one age, or several rare ages with 20 photos together."""
    values, counts = np.unique(np.asarray(ages), return_counts=True)
    strata, current, members = {}, 0, 0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if members >= FOLDS:
            current, members = current + 1, 0
        strata[value] = current
        members += count
    if members < FOLDS:  # the last stratum is too small, so it joins the one before
        strata = {value: min(stratum, max(0, current - 1)) for value, stratum in strata.items()}
    return np.array([strata[age] for age in ages])
