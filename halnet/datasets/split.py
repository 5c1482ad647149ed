"""The split: a file that assigns each photo to a part: training, validation or test."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.errors import ConfigError, DatasetError
from halnet.files import NAME_ERRORS, write_text
from halnet.json_text import parse_json
from halnet.packages import needs

SPLIT_FILE = "dataset_split_stratified.json"
SPLITS = ("train", "val", "test")
MIN_PHOTOS = 20  # a dataset with fewer photos cannot be split
CURE = "put a copy of the file there, or delete it and run halnet prepare into this folder again"
FOLDS = 20  # of the old split: one fold, 5 % of the photos, is for validation, one for the test


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
        return hashlib.sha256(text.encode(errors=NAME_ERRORS)).hexdigest()

    def parts(self) -> dict[str, str]:
        """Return the part of each photo: "train", "val" or "test", by its source."""
        return {source: name for name in SPLITS for source in self.photos[name]}

    def extended(self, parts: Iterable[tuple[str, str]]) -> "Split":
        """Return the split with new photos, given as (source, part). No other photo moves."""
        known = self.parts()
        photos = {name: list(self.photos[name]) for name in SPLITS}
        for source, part in parts:
            if source not in known:
                photos[part].append(source)
        return Split(self.dataset, self.seed, {name: tuple(photos[name]) for name in SPLITS})

    def _content(self) -> dict[str, object]:
        return {"dataset": self.dataset, "seed": self.seed, "photos": self.photos}

    def write(self, path: Path) -> None:
        """Write the split file."""
        content = {"sha256": self.sha256, **self._content()}
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_split(path: Path) -> Split:
    """Read a split file. Raises DatasetError if it is damaged or does not match its SHA-256."""
    try:
        content = parse_json(path.read_text(encoding="utf-8", errors=NAME_ERRORS))
        split = Split(
            content["dataset"],
            content["seed"],
            {name: tuple(content["photos"][name]) for name in SPLITS},
        )
        stated = content["sha256"]
    except OSError as error:
        raise DatasetError(
            f"{path}: expected a split file, found none that can be read ({error.strerror}); put a "
            "copy of the file there, or run halnet prepare into this folder again"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: expected a split file, found a damaged one; {CURE}") from error
    if split.sha256 != stated:
        raise DatasetError(
            f"{path}: expected content with the SHA-256 that the file states, found other content, "
            f"so the file was edited; {CURE}"
        )
    return split


def parse_shares(text: str) -> dict[str, float]:
    """Return the shares of the parts, such as 0.9, 0.05 and 0.05 for "90/5/5".

    Raises ConfigError unless `text` has three numbers from 0 to 100 whose sum is 100.
    """
    try:
        values = [float(value) for value in text.split("/")]
    except ValueError:
        values = []
    if len(values) != len(SPLITS) or min(values) < 0 or not math.isclose(sum(values), 100):
        raise ConfigError(
            f"shares {text}: expected the shares of training, validation and test in percent, with "
            "the sum 100, such as 90/5/5"
        )
    return {name: value / 100 for name, value in zip(SPLITS, values, strict=True)}


@dataclass(frozen=True, slots=True)
class Unit:
    """Photos that stay in one part: one photo, or the photos of a person and their copies."""

    name: str  # source of the first photo
    age: float  # years, the mean of the photos
    sex: str
    photos: int  # number of photos
    part: str = ""  # the part that is known already, or ""


def assign_parts(units: Sequence[Unit], shares: dict[str, float], seed: int) -> list[str]:
    """Return the part of each unit. Ages and sexes have the same distribution in each part.

    Units are sorted by age and sex, and in an order that the seed decides where these are equal.
    Each unit then goes to the part that has the fewest photos so far for its share, as seats go to
    parties by the method of Webster and Sainte-Lague. A unit whose part is known stays there. The
    result does not depend on the order of `units`.
    """

    def order(index: int) -> tuple[float, str, bytes]:
        unit = units[index]
        text = f"{seed} {unit.name}".encode(errors=NAME_ERRORS)
        return unit.age, unit.sex, hashlib.blake2b(text, digest_size=8).digest()

    parts = [""] * len(units)
    photos = dict.fromkeys(SPLITS, 0)  # number of photos of each part so far
    open_parts = [name for name in SPLITS if shares[name]]
    for index in sorted(range(len(units)), key=order):
        unit = units[index]
        filled = {name: (photos[name] + unit.photos / 2) / shares[name] for name in open_parts}
        parts[index] = unit.part or min(filled, key=filled.__getitem__)
        photos[parts[index]] += unit.photos
    return parts


def stratified_split(dataset: str, sources: Sequence[str], ages: Sequence[int], seed: int) -> Split:
    """Return the split of older versions: 90 % for training, 5 % for validation, 5 % for the test.

    Ages have the same distribution in each part. Raises DatasetError for fewer than 20 photos.
    """
    with needs("the split of a dataset", "train"):
        from sklearn.model_selection import StratifiedKFold

    check_count(len(sources))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    groups = folds.split(np.zeros(len(sources)), _strata(ages))
    split_of = np.full(len(sources), SPLITS[0], dtype=object)
    for name, (_, picked) in zip(SPLITS[1:], groups, strict=False):
        split_of[picked] = name
    assigned = list(zip(sources, split_of, strict=True))
    photos = {name: tuple(s for s, split in assigned if split == name) for name in SPLITS}
    return Split(dataset, seed, photos)


def check_count(count: int, rejected: str = "") -> None:
    """Raise DatasetError if a dataset with `count` photos cannot be split.

    `rejected` is what the message states of the photos that were rejected.
    """
    if count < MIN_PHOTOS:
        raise DatasetError(
            f"expected at least {MIN_PHOTOS} photos with a face, found {count}{rejected}; add "
            "photos"
        )


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
