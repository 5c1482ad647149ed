"""The parts of photos: copies, persons, known parts and splits that exist."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.datasets.crop_hash import hash_crop
from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.origin import Origin
from halnet.datasets.partition import Partition, make_partition
from halnet.datasets.prepared_dataset import crop_path
from halnet.datasets.split import Split, stratified_split
from halnet.errors import ConfigError, DatasetError

ORIGIN = Origin("x", 0, "", shares="50/25/25")
ALONE = 40  # number of photos that have no copy and no person

Make = Callable[..., PreparedPhoto]
Decide = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture
def photo(tmp_path: Path) -> Make:
    """Makes a result and its crop. Photos with one `look` are copies."""

    def make(source: str, look: int, age: int = 30, high: int = 0, **values: str) -> PreparedPhoto:
        noise = np.random.default_rng(look).integers(80, 170, (16, 16, 3), np.uint8)
        crop = np.asarray(cv2.resize(noise, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)
        crop += np.random.default_rng(len(source)).integers(0, 2, crop.shape, np.uint8)
        path = crop_path(tmp_path, source)
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), crop)
        value = f"{hash_crop(np.ascontiguousarray(crop[..., ::-1])):016x}"
        return PreparedPhoto(source, age, high or age, hash=value, **values)

    return make


@pytest.fixture
def alone(photo: Make) -> list[PreparedPhoto]:
    return [photo(f"{i:02d}", 100 + i, 20 + i % 10) for i in range(ALONE)]


def _decisions(found: Partition, photos: Sequence[PreparedPhoto]) -> dict[str, tuple[str, str]]:
    rows = zip(photos, found.parts, found.rejects, strict=True)
    return {photo.source: (part, reject) for photo, part, reject in rows}


def test_copies_stay_in_one_part(photo: Make, alone: list[PreparedPhoto], tmp_path: Path) -> None:
    copies = [photo(f"{look}-{i}", look, 30 + i) for look in range(20) for i in range(3)]
    photos = [*copies, *alone]
    found = make_partition(tmp_path, ORIGIN, photos, keep_old_split=False)
    parts = [found.parts[i : i + 3] for i in range(0, 60, 3)]
    assert all(len(set(part)) == 1 for part in parts)
    assert {part[0] for part in parts} == {"train", "val", "test"}
    assert (found.twins, found.twins_rejected, found.twins_apart) == (60, 0, 0)
    assert {name: len(part) for name, part in found.split.photos.items()} == {
        "train": pytest.approx(50, abs=2),
        "val": pytest.approx(25, abs=2),
        "test": pytest.approx(25, abs=2),
    }


def test_copies_with_other_ages_are_rejected(
    photo: Make, alone: list[PreparedPhoto], tmp_path: Path
) -> None:
    photos = [photo("a", 1, 20), photo("bb", 1, 63), photo("c", 2, 20, 29), photo("dd", 2, 31)]
    found = make_partition(tmp_path, ORIGIN, [*photos, *alone], keep_old_split=False)
    decisions = _decisions(found, [*photos, *alone])
    assert decisions["a"] == decisions["bb"] == ("", "a copy of the photo has another age")
    assert decisions["c"] == decisions["dd"]
    assert decisions["c"][0]
    assert "a" not in found.split.parts()
    assert (found.twins, found.twins_rejected) == (2, 2)


def test_photos_of_a_person_stay_in_one_part(
    photo: Make, alone: list[PreparedPhoto], tmp_path: Path
) -> None:
    """Also with a copy of one of them, and at ages that are far apart."""
    photos = [photo("a", 1, 5, person="7"), photo("bb", 2, 70, person="7"), photo("ccc", 2, 70)]
    for seed in range(5):
        origin = replace(ORIGIN, seed=seed)
        found = make_partition(tmp_path, origin, [*photos, *alone], keep_old_split=False)
        assert len(set(found.parts[:3])) == 1
        assert not any(found.rejects)


def test_stated_parts_are_kept_and_decide_those_of_copies(
    photo: Make, alone: list[PreparedPhoto], tmp_path: Path
) -> None:
    photos = [
        photo("a", 1, split="val"),
        photo("bb", 1),
        photo("c", 2, split="train", person="7"),
        photo("d", 3, split="test", person="7"),
        photo("e", 4, person="7"),
        *(replace(result, split="train") for result in alone),
    ]
    found = make_partition(tmp_path, ORIGIN, photos, keep_old_split=False)
    decisions = _decisions(found, photos)
    assert decisions["a"] == decisions["bb"] == ("val", "")
    reason = "a copy of the photo, or a photo of the person, is in the split test"
    assert decisions["c"] == ("", reason)
    assert decisions["d"] == decisions["e"] == ("test", "")
    assert decisions["00"] == ("train", "")


def test_a_split_that_exists_moves_no_photo(
    photo: Make, alone: list[PreparedPhoto], tmp_path: Path
) -> None:
    """New photos are added; one that is a copy joins its part; dropped photos keep their place."""
    first = make_partition(tmp_path, ORIGIN, alone, keep_old_split=False)
    first.split.write(tmp_path / "dataset_split_stratified.json")
    before = first.split.parts()
    in_test = max(i for i, part in enumerate(first.parts) if part == "test")
    in_train = max(i for i, part in enumerate(first.parts) if part == "train")
    photos = [
        *alone[1:],
        photo("copy", 100 + in_test, alone[in_test].age_low),
        *(photo(f"new-{i}", 300 + i, 20 + i % 10) for i in range(40)),
    ]
    found = make_partition(tmp_path, ORIGIN, photos, keep_old_split=False)
    after = found.split.parts()
    assert {source: after[source] for source in before} == before
    assert "00" in after, "a photo that comes back gets its part back"
    assert after["copy"] == "test"
    assert len(found.split.photos["train"]) == pytest.approx(40, abs=2)
    again = make_partition(tmp_path, ORIGIN, alone, keep_old_split=False)
    assert again.split.sha256 == first.split.sha256
    # A person whose photos are in two parts already: the test keeps its photo.
    merged = [replace(alone[i], person="7") for i in (in_test, in_train)]
    found = make_partition(tmp_path, ORIGIN, merged, keep_old_split=False)
    assert list(found.parts) == ["test", ""]


def test_the_old_split_ignores_copies(
    photo: Make, alone: list[PreparedPhoto], tmp_path: Path
) -> None:
    photos = [photo(f"{i}", 1, 30 + i) for i in range(9)] + alone
    found = make_partition(tmp_path, ORIGIN, photos, keep_old_split=True)
    assert not any(found.rejects)
    assert found.twins == 9
    others = [part for part in found.parts[:9] if part != "test"]
    assert found.twins_apart == (len(others) if "test" in found.parts[:9] else 0)
    names, ages = zip(*((result.source, result.age_low) for result in photos), strict=True)
    assert found.split == stratified_split("x", names, ages, 0)


def test_photos_without_hashes_have_no_copies(photo: Make, tmp_path: Path) -> None:
    photos = [replace(photo(f"{i:03d}", 1, 20 + i), hash="") for i in range(20)]
    found = make_partition(tmp_path, ORIGIN, photos, keep_old_split=False)
    assert (found.twins, found.twins_rejected) == (0, 0)
    assert all(found.parts)


def test_too_few_photos_are_refused_unless_their_parts_are_known(
    photo: Make, tmp_path: Path
) -> None:
    photos = [photo(f"{i}", i) for i in range(3)]
    with pytest.raises(DatasetError, match="at least 20 photos with a face, found 3"):
        make_partition(tmp_path, ORIGIN, photos, keep_old_split=False)
    origin = replace(ORIGIN, shares="0/0/100")
    assert (
        list(make_partition(tmp_path, origin, photos, keep_old_split=False).parts) == ["test"] * 3
    )
    known = [replace(result, split="test") for result in photos]
    found = make_partition(tmp_path, ORIGIN, known, keep_old_split=False)
    assert found.split == Split("x", 0, {"train": (), "val": (), "test": ("0", "1", "2")})


def test_wrong_shares_are_refused(alone: list[PreparedPhoto], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shares 90/5: expected"):
        make_partition(tmp_path, replace(ORIGIN, shares="90/5"), alone, keep_old_split=False)
