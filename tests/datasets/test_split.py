from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.split import read_split, stratified_split
from halnet.errors import DatasetError

AGES = np.random.default_rng(0).geometric(0.03, 3000).clip(1, 80).tolist()
SOURCES = [f"{i:05d}.jpg" for i in range(3000)]


def test_each_photo_is_in_one_split() -> None:
    photos = stratified_split("x", SOURCES, AGES, 0).photos
    assert {name: len(part) for name, part in photos.items()} == {
        "train": 2700,
        "val": 150,
        "test": 150,
    }
    assert sorted(photos["train"] + photos["val"] + photos["test"]) == SOURCES


def test_each_split_has_the_same_ages() -> None:
    age = dict(zip(SOURCES, AGES, strict=True))
    photos = stratified_split("x", SOURCES, AGES, 0).photos
    whole = Counter(AGES)
    for name in ("val", "test"):
        part = Counter(age[source] for source in photos[name])
        for years, count in whole.items():
            if count >= 20:
                assert abs(part[years] - count / 20) <= 1, (name, years)


def test_another_seed_gives_another_split() -> None:
    first, same, other = (stratified_split("x", SOURCES, AGES, seed) for seed in (0, 0, 1))
    assert first == same
    assert first.sha256 == same.sha256
    assert first.photos["test"] != other.photos["test"]
    assert first.sha256 != other.sha256


def test_rare_ages_share_a_stratum() -> None:
    photos = stratified_split("x", SOURCES[:60], list(range(60)), 0).photos
    assert len(photos["val"]) == len(photos["test"]) == 3


def test_too_few_photos_are_refused() -> None:
    with pytest.raises(DatasetError, match="at least 20 photos with a face, found 19"):
        stratified_split("x", SOURCES[:19], [30] * 19, 0)


def test_an_edited_or_damaged_file_is_refused(tmp_path: Path) -> None:
    split = stratified_split("x", SOURCES[:40], AGES[:40], 0)
    path = tmp_path / "split.json"
    split.write(path)
    assert read_split(path) == split
    moved = split.photos["test"][0]
    path.write_text(path.read_text().replace(moved, "99999.jpg"))
    with pytest.raises(DatasetError, match="so the file was edited"):
        read_split(path)
    path.write_text("{")
    with pytest.raises(DatasetError, match="expected a split file, found a missing or damaged one"):
        read_split(path)
