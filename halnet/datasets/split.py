"""The split: which photo serves training, validation or the test, fixed once in a file."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.errors import DatasetError
from halnet.files import write_text

SPLIT_FILE = "dataset_split_stratified.json"
SPLITS = ("train", "val", "test")
FOLDS = 20  # one fold, 5 %, for validation, one for the test


@dataclass(frozen=True)
class Split:
    """Names of the photos in each split, in the dataset's order."""

    dataset: str
    seed: int
    photos: dict[str, tuple[str, ...]]  # "train", "val", "test": relative sources

    @property
    def sha256(self) -> str:
        """SHA-256 of the content; every result that uses the split names it."""
        text = json.dumps(self._content(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def _content(self) -> dict[str, object]:
        return {"dataset": self.dataset, "seed": self.seed, "photos": self.photos}

    def write(self, path: Path) -> None:
        """Write the split file."""
        content = {"sha256": self.sha256, **self._content()}
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_split(path: Path) -> Split:
    """Read a split file. Raises DatasetError if its content is not what its SHA-256 says."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        split = Split(
            content["dataset"],
            content["seed"],
            {name: tuple(content["photos"][name]) for name in SPLITS},
        )
        stated = content["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: not a readable split file: {error!r}") from error
    if split.sha256 != stated:
        raise DatasetError(
            f"{path}: expected content with SHA-256 {stated[:12]}..., found "
            f"{split.sha256[:12]}...; it was edited: run halnet prepare into a fresh folder"
        )
    return split


def stratified_split(dataset: str, sources: Sequence[str], ages: Sequence[int], seed: int) -> Split:
    """Split photos 90/5/5 with the same distribution of ages in each part."""
    from sklearn.model_selection import StratifiedKFold

    if len(sources) < FOLDS:
        raise DatasetError(f"expected at least {FOLDS} photos with a face, found {len(sources)}")
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    groups = folds.split(np.zeros(len(sources)), _strata(ages))
    part = np.full(len(sources), SPLITS[0], dtype=object)
    for name, (_, picked) in zip(SPLITS[1:], groups, strict=False):
        part[picked] = name
    return Split(
        dataset,
        seed,
        {
            name: tuple(s for s, p in zip(sources, part, strict=True) if p == name)
            for name in SPLITS
        },
    )


def _strata(ages: Sequence[int]) -> NDArray[np.int64]:
    """Return a stratum for each photo: its age, rare ages joined to the next until 20 are there."""
    values, counts = np.unique(np.asarray(ages), return_counts=True)
    strata, current, members = {}, 0, 0
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if members >= FOLDS:
            current, members = current + 1, 0
        strata[value] = current
        members += count
    if members < FOLDS:  # the last ages are too few for a stratum of their own
        strata = {value: min(stratum, max(0, current - 1)) for value, stratum in strata.items()}
    return np.array([strata[age] for age in ages])
