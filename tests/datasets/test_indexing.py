import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.indexing import write_index
from halnet.datasets.origin import Origin
from halnet.datasets.prepared_dataset import PreparedDataset

ORIGIN = Origin("x", 0, "listing", name="mine")
PHOTOS = [
    PreparedPhoto(
        f"{i}.jpg",
        20 + i,
        20 + i,
        groups={"camera": "old"},
        landmark_error=i / 100,
        faces=1 + (i == 3),
        width=300,
        height=200,
        eye_distance=56.25,
        landmarks="1.50 2 3 4 5 6 7 8 9 10",
        score=0.9,
    )
    for i in range(20)
]


def _rows(path: Path) -> list[dict[str, Any]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_and_the_summary(tmp_path: Path) -> None:
    results = [
        *PHOTOS[:10],
        replace(PHOTOS[0], source="low.jpg", age_low=3, age_high=9, reject="no face found"),
        PreparedPhoto("bad.jpg", reject="the age is not a number", invalid_age="abc"),
        PreparedPhoto("none.jpg", reject="no face found", invalid_age=""),
        replace(PHOTOS[0], source="old.jpg", age_low=104, age_high=104, groups={"skin": "dark"}),
        replace(PHOTOS[0], source="range.jpg", age_low=70, age_high=110),
        *PHOTOS[10:],
    ]
    summary = write_index(tmp_path, ORIGIN, results)
    assert (summary.photos, summary.indexed, summary.rejected) == (25, 22, 3)
    assert summary.reasons == {"no face found": 2, "the age is not a number": 1}
    assert (summary.clipped, summary.several_faces, summary.landmark_error) == (2, 1, 0.085)
    assert summary.name == "mine"
    assert sum(summary.split.values()) == 22
    assert _rows(tmp_path / "rejects.csv") == [
        {"source": "low.jpg", "age": "3-9", "sex": "", "reject": "no face found"},
        {"source": "bad.jpg", "age": "abc", "sex": "", "reject": "the age is not a number"},
        {"source": "none.jpg", "age": "", "sex": "", "reject": "no face found"},
    ]
    index = {row["source"]: row for row in _rows(tmp_path / "index.csv")}
    assert list(index) == [result.source for result in results if not result.reject]
    assert index["5.jpg"]["landmarks"] == "1.50 2 3 4 5 6 7 8 9 10"
    data = PreparedDataset(tmp_path)
    records = {record.source: record for record in data.records}
    assert data.dataset == "mine"
    assert records["old.jpg"].age == 100
    assert records["old.jpg"].groups == {"skin": "dark"}
    assert (records["range.jpg"].age_low, records["range.jpg"].age_high) == (70, 100)
    assert records["5.jpg"].groups == {"camera": "old"}
    assert records["5.jpg"].eye_distance == 56.25


def test_many_reasons_are_summed_up(tmp_path: Path) -> None:
    results = [*PHOTOS, *(PreparedPhoto(f"r{i}", reject=f"reason {i}") for i in range(45))]
    reasons = write_index(tmp_path, ORIGIN, results).reasons
    assert len(reasons) == 31
    assert reasons["other reasons"] == 15


def test_a_folder_without_training_photos(tmp_path: Path) -> None:
    results = [replace(photo, split="test") for photo in PHOTOS[:3]]
    assert write_index(tmp_path, ORIGIN, results).split == {"train": 0, "val": 0, "test": 3}
    assert len(PreparedDataset(tmp_path).select("test")) == 3


@pytest.mark.parametrize("name", ["index.csv", "rejects.csv"])
def test_file_names_that_are_not_utf_8_keep_their_bytes(name: str, tmp_path: Path) -> None:
    source = b"Zo\xeb.jpg".decode(errors="surrogateescape")
    reject = "no face found" if name == "rejects.csv" else ""
    write_index(tmp_path, ORIGIN, [*PHOTOS, replace(PHOTOS[0], source=source, reject=reject)])
    assert b"Zo\xeb.jpg," in (tmp_path / name).read_bytes()


def test_file_names_keep_their_line_ends(tmp_path: Path) -> None:
    write_index(tmp_path, ORIGIN, [*PHOTOS, replace(PHOTOS[0], source="a\rb.jpg")])
    assert PreparedDataset(tmp_path).records[-1].source == "a\rb.jpg"
