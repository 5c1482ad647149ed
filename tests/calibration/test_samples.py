from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from halnet.calibration.samples import pick_records, pick_samples
from halnet.datasets.prepared import PreparedDataset, Record
from halnet.errors import DatasetError


def _records(**counts: int) -> list[Record]:
    """Photos by group: `f20=5` is five women of 20 to 29."""
    return [
        Record(f"{group}-{i}.jpg", int(group[1:]) + i % 10, group[0], "val")
        for group, count in counts.items()
        for i in range(count)
    ]


def test_every_decade_and_sex_gives_its_share() -> None:
    records = _records(f0=40, m0=40, f20=300, m20=300, f70=3, m70=0)
    picked = pick_records(records, 63, seed=0)
    groups = Counter(record.source.split("-")[0] for record in picked)
    assert groups == {"f0": 15, "m0": 15, "f20": 15, "m20": 15, "f70": 3}
    assert len({record.source for record in picked}) == 63


def test_the_seed_decides() -> None:
    records = _records(f0=40, m0=40, f20=40)
    assert pick_records(records, 30, seed=1) == pick_records(records, 30, seed=1)
    assert pick_records(records, 30, seed=1) != pick_records(records, 30, seed=2)


@pytest.mark.parametrize("count", [0, 15, 121])
def test_too_few_and_too_many(count: int) -> None:
    with pytest.raises(DatasetError, match=rf"expected 16 to 120 photos.*found {count}"):
        pick_records(_records(f0=40, m0=40, f20=40), count, seed=0)


def test_samples_come_from_the_validation_split_alone(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    with pytest.raises(DatasetError, match=r"at least 16 photos in the val split.*found 12"):
        pick_samples(data, 12)
    data.records = tuple(
        Record(r.source, r.age, r.sex, "val" if r.split == "train" else r.split)
        for r in data.records
    )
    samples = pick_samples(data, 24, seed=3)
    assert samples.crops.shape == (24, 224, 224, 3)
    photos = samples.origin["photos"]
    assert samples.origin["seed"] == 3
    by_source = {record.source: record for record in data.records}
    assert {by_source[source].split for source in photos} == {"val"}
    np.testing.assert_array_equal(samples.crops[5], data.inner_crops([by_source[photos[5]]])[0])
    # Ages 10 to 69, two sexes: twelve groups, two photos of each.
    groups = Counter((by_source[source].age // 10, by_source[source].sex) for source in photos)
    assert set(groups.values()) == {2}
    assert len(groups) == 12


def test_faces_of_one_age_are_refused(prepared: Path) -> None:
    data = PreparedDataset(prepared)
    data.records = tuple(Record(r.source, 30 + r.age % 10, r.sex, "val") for r in data.records)
    with pytest.raises(DatasetError, match="at least 3 decades of age to calibrate on, found 1"):
        pick_samples(data, 24)
