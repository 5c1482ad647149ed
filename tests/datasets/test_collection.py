"""Several prepared datasets, whose photos overlap."""

import csv
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.split import SPLITS
from halnet.errors import DatasetError
from halnet.runtimes.fake import FakeRuntime

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def first(make_prepared_folder: Make) -> PreparedDataset:
    return PreparedDataset(make_prepared_folder(80))


@pytest.fixture(scope="module")
def second(make_prepared_folder: Make) -> PreparedDataset:
    """Another dataset of the same name. Its photos 60 to 79 are also in the first one."""
    return PreparedDataset(make_prepared_folder(80, first=60))


@pytest.fixture(scope="module")
def both(first: PreparedDataset, second: PreparedDataset) -> DataCollection:
    return DataCollection([first, second])


def test_a_name_that_repeats_gets_a_number(
    both: DataCollection, first: PreparedDataset, second: PreparedDataset
) -> None:
    assert both.sets == {"synthetic": first, "synthetic-2": second}


def test_one_dataset_twice_is_refused(first: PreparedDataset) -> None:
    with pytest.raises(DatasetError, match="found the same photos as in .*synthetic.; name each"):
        DataCollection([first, PreparedDataset(first.root)])


def test_no_dataset_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least one prepared dataset, found none"):
        DataCollection([])


def test_the_test_keeps_its_photos(both: DataCollection) -> None:
    """A photo in two parts is left in the one that comes first: test, validation, training."""
    parts = {name: {r.source: r.split for r in data.records} for name, data in both.sets.items()}
    rank = {part: i for i, part in enumerate(SPLITS)}
    kept = {(r.dataset, r.source) for part in SPLITS for r in both.select(part)}
    other = {"synthetic": "synthetic-2", "synthetic-2": "synthetic"}
    lost: Counter[tuple[str, str]] = Counter()
    for name, sources in parts.items():
        for source, part in sources.items():
            elsewhere = parts[other[name]].get(source, part)
            lost[name, part] += rank[elsewhere] > rank[part]
            assert ((name, source) in kept) is (rank[elsewhere] <= rank[part])
    assert lost.total() > 0, "the split of the two datasets differs for some of the 20 photos"
    assert +lost == {
        (name, part): count
        for name, counts in both.twins_removed.items()
        for part, count in counts.items()
    }
    assert len(both.records) == 160 - lost.total()
    assert {(record.dataset, record.source) for record in both.records} == kept


def test_datasets_without_copies_lose_nothing(
    first: PreparedDataset, make_prepared_folder: Make
) -> None:
    other = PreparedDataset(make_prepared_folder(40, first=80, dataset="other"))
    data = DataCollection([first, other])
    assert data.twins_removed == {"synthetic": {}, "other": {}}
    assert len(data.select("train")) == len(first.select("train")) + len(other.select("train"))
    assert [record.dataset for record in data.select("val", 1)] == ["synthetic", "other"]


def test_crops_and_outputs_come_from_the_right_dataset(both: DataCollection) -> None:
    records = both.select("val")
    assert {record.dataset for record in records} == {"synthetic", "synthetic-2"}
    outputs = both.outputs(FakeRuntime().run, records)
    for record, age in zip(records, outputs.age, strict=True):
        data = both.sets[record.dataset]
        np.testing.assert_array_equal(both.crop(record), data.crop(record))
        assert age == pytest.approx(data.inner_crops([record]).mean() / 2.55, abs=0.05)


def test_a_copy_in_the_same_dataset_is_left_out(first: PreparedDataset, tmp_path: Path) -> None:
    """As in All-Age-Faces, whose split is older than the search for copies."""
    root = Path(shutil.copytree(first.root, tmp_path / "copy"))
    train, test = first.select("train")[3], first.select("test")[0]
    shutil.copy(root / "crops" / f"{test.source}.png", root / "crops" / f"{train.source}.png")
    _edit_index(root, lambda row: {**row, "hash": f"{test.hash:016x}"}, {train.source})
    data = DataCollection([PreparedDataset(root)])
    assert data.twins_removed == {"synthetic": {"train": 1}}
    assert train.source not in {record.source for record in data.select("train")}


def test_the_index_of_an_older_version_gets_its_hashes(
    first: PreparedDataset, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(first.root, tmp_path / "copy"))
    old = ("source", "age", "sex", "split", "score", "faces", "landmark_error")
    _edit_index(root, lambda row: {name: row.get(name, row["age_low"]) for name in old})
    data = PreparedDataset(root)
    assert data.records[0].hash is None
    np.testing.assert_array_equal(data.hashes, first.hashes)
    shutil.rmtree(root / "crops")
    np.testing.assert_array_equal(PreparedDataset(root).hashes, first.hashes)


def test_a_dataset_without_the_part_is_left_out(
    first: PreparedDataset, make_prepared_folder: Make, tmp_path: Path
) -> None:
    root = make_prepared_folder(30, first=200, dataset="away", shares="0/0/100")
    data = DataCollection([first, PreparedDataset(root)])
    assert {record.dataset for record in data.select("val")} == {"synthetic"}
    assert len(data.select("test")) == len(first.select("test")) + 30
    alone = DataCollection([PreparedDataset(root)])
    with pytest.raises(DatasetError, match="expected photos in the split train, found none"):
        alone.select("train")


def _edit_index(
    root: Path, edit: Callable[[dict[str, str]], dict[str, str]], sources: set[str] | None = None
) -> None:
    path = root / "index.csv"
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [edit(row) if sources is None or row["source"] in sources else row for row in rows]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
