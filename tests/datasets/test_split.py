from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.split import (
    Split,
    Unit,
    assign_parts,
    parse_shares,
    read_split,
    stratified_split,
)
from halnet.errors import ConfigError, DatasetError

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
    with pytest.raises(
        DatasetError, match="expected a split file, found a damaged one; put a copy"
    ):
        read_split(path)


def test_a_split_grows_and_no_photo_moves() -> None:
    split = Split("x", 0, {"train": ("b", "a"), "val": ("c",), "test": ()})
    assert split.parts() == {"b": "train", "a": "train", "c": "val"}
    assert split.extended([("a", "train"), ("c", "val")]).sha256 == split.sha256
    larger = split.extended([("c", "val"), ("0", "train"), ("d", "test")])
    assert larger.photos == {"train": ("b", "a", "0"), "val": ("c",), "test": ("d",)}


def test_file_names_that_are_not_utf_8_are_kept(tmp_path: Path) -> None:
    split = Split("x", 0, {"train": ("Zo\udceb.jpg",), "val": (), "test": ()})
    split.write(tmp_path / "split.json")
    assert read_split(tmp_path / "split.json") == split


def test_shares_are_parsed() -> None:
    assert parse_shares("90/5/5") == {"train": 0.9, "val": 0.05, "test": 0.05}
    assert parse_shares("0/0/100") == {"train": 0, "val": 0, "test": 1}
    assert parse_shares("33.3/33.3/33.4")["test"] == pytest.approx(0.334)


@pytest.mark.parametrize(
    "text", ["", "90/5", "90/5/5/0", "90/5/4", "a/b/c", "110/-5/-5", "nan/5/5"]
)
def test_wrong_shares_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"shares {text}: expected .* such as 90/5/5"):
        parse_shares(text)


UNITS = [
    Unit(source, age, ("female", "male")[i % 3 == 0], 1)
    for i, (source, age) in enumerate(zip(SOURCES, AGES, strict=True))
]


@pytest.mark.parametrize("shares", ["90/5/5", "70/10/20", "80/10/10", "50/0/50", "0/0/100"])
def test_parts_have_the_shares_and_the_same_ages_and_sexes(shares: str) -> None:
    expected = parse_shares(shares)
    parts = assign_parts(UNITS, expected, 0)
    for name, share in expected.items():
        assert parts.count(name) == pytest.approx(3000 * share, abs=1)
        for chosen in (
            [part for part, unit in zip(parts, UNITS, strict=True) if unit.age <= 10],
            [part for part, unit in zip(parts, UNITS, strict=True) if unit.age > 60],
        ):
            assert chosen.count(name) == pytest.approx(len(chosen) * share, abs=2)
        women = [p for p, unit in zip(parts, UNITS, strict=True) if unit.sex == "female"]
        assert women.count(name) == pytest.approx(len(women) * share, rel=0.2)


def test_parts_depend_on_the_seed_but_not_on_the_order() -> None:
    shares = parse_shares("80/10/10")
    first = assign_parts(UNITS, shares, 0)
    assert first != assign_parts(UNITS, shares, 1)
    assert first[::-1] == assign_parts(UNITS[::-1], shares, 0)


def test_known_parts_stay_and_count() -> None:
    """Half of the photos are in the test already, so it gets none of the others."""
    units = [
        Unit(unit.name, unit.age, unit.sex, 1, "test" if i % 2 else "")
        for i, unit in enumerate(UNITS)
    ]
    parts = assign_parts(units, parse_shares("70/10/20"), 0)
    assert all(part == "test" for part in parts[1::2])
    assert parts[::2].count("test") < 20
    assert parts.count("val") == pytest.approx(3000 * 0.1 * 5 / 8, rel=0.15)


def test_large_units_keep_the_shares() -> None:
    sizes = np.random.default_rng(0).integers(1, 40, 500)
    units = [Unit(f"{i}", 30, "", int(size)) for i, size in enumerate(sizes)]
    parts = np.array(assign_parts(units, parse_shares("80/10/10"), 0))
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert sizes[parts == name].sum() / sizes.sum() == pytest.approx(share, abs=0.01)
