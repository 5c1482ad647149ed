"""Parts: which photos and rows a source has, and how they are divided into shards."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.batch.parts import (
    Part,
    find_parts,
    from_table,
    open_source,
    shard_size,
    shards,
    to_table,
)
from halnet.batch.storage import open_storage
from halnet.errors import ConfigError
from halnet.photos.photo_files import LINKS, MACOS, OTHERS, VIDEOS, Reason

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def names(text: str, left_out: Counter[Reason] | None = None) -> list[str]:
    """Return the names of the photos that a source has."""
    source = open_source(text, None, None)
    left_out = Counter() if left_out is None else left_out
    return [source.storage.name_of(part.file) for part in find_parts(source, left_out)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Photos in two folders, and files that are none."""
    for name in ("a.jpg", "b.PNG", "x/c.jpg", "x/y/d.webp", "x/.hidden.jpg", "[1].jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("notes.txt", "film.mp4", "._a.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("x")
    return tmp_path


def test_a_folder_has_its_photos_by_their_names(tree: Path) -> None:
    left_out: Counter[Reason] = Counter()
    found = ["[1].jpg", "a.jpg", "b.PNG", "x/.hidden.jpg", "x/c.jpg", "x/y/d.webp"]
    assert sorted(names(str(tree), left_out)) == [f"{tree}/{name}" for name in found]
    assert left_out == {OTHERS: 1, VIDEOS: 1, MACOS: 1, LINKS: 1}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.jpg", ["[1].jpg", "a.jpg"]),
        ("**/*.jpg", ["[1].jpg", "a.jpg", "x/c.jpg"]),
        ("x/*", ["x/c.jpg"]),
        ("x/**", ["x/c.jpg", "x/y/d.webp"]),
        ("*/?.jpg", ["x/c.jpg"]),
        ("a.jpg", ["a.jpg"]),
        ("[1].jpg", ["[1].jpg"]),
    ],
)
def test_a_pattern_has_the_photos_that_match(pattern: str, found: list[str], tree: Path) -> None:
    assert sorted(names(f"{tree}/{pattern}")) == [f"{tree}/{name}" for name in found]


def test_a_pattern_begins_in_the_current_folder(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree / "x")
    assert names("*.jpg") == [f"{tree}/x/c.jpg"]


def test_a_bucket_has_photos_and_patterns(bucket: Callable[[str, bytes], None]) -> None:
    assert len(names("s3://photos/party")) == 33
    found = [f"s3://photos/party/1/{age}.png" for age in range(22, 50, 3)]
    assert sorted(names("s3://photos/party/1/*.png?region=us-east-1")) == found
    assert sorted(names("s3://photos/party/**/2[1-5].png")) == [
        f"s3://photos/party/{age % 3}/{age}.png" for age in (21, 24, 22, 25, 23)
    ]


def test_a_folder_that_cannot_be_read_is_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, onerror: Callable[[OSError], None]) -> None:
        onerror(PermissionError(13, "Permission denied", name))

    monkeypatch.setattr(os, "walk", fail)
    with pytest.raises(ConfigError, match=f"{tree}: cannot be read: Permission denied"):
        names(str(tree))


def test_a_missing_folder_and_bucket_are_errors(
    tmp_path: Path, bucket: Callable[[str, bytes], None]
) -> None:
    with pytest.raises(ConfigError, match="none: cannot.*directory; check the name and the perm"):
        names(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="s3://nobucket: cannot be read: .*does not exist"):
        names("s3://nobucket")


@pytest.mark.usefixtures("forbidden")
def test_a_bucket_without_permission_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"s3://photos/a: cannot be read: .*ACCESS_DENIED.*cred"):
        names("s3://photos/a")


def write_table(path: Path, rows: int, group: int, **columns: object) -> Path:
    images = pa.array([f"photo {i}".encode() for i in range(rows)])
    table = pa.table({"image": images, "name": [f"n{i}" for i in range(rows)], **columns})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def test_a_parquet_file_has_a_part_for_each_row_group(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", 25, 10)
    write_table(tmp_path / "deep" / "b.parquet", 3, 10)
    write_table(tmp_path / "_metadata.parquet", 3, 10)
    source = open_source(str(tmp_path), "image", "name")
    parts = list(find_parts(source, Counter()))
    first, second = "a.parquet", "deep/b.parquet"
    assert parts == [
        Part(first, 10, 0, 0), Part(first, 10, 1, 10), Part(first, 5, 2, 20), Part(second, 3, 0, 0)
    ]  # fmt: skip


def test_a_field_of_a_column_has_the_photos(tmp_path: Path) -> None:
    nested = pa.array([{"bytes": b"abc", "path": "x"}])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": nested}), path)
    (part,) = find_parts(open_source(str(path), "image.bytes", None), Counter())
    assert part == Part("", 1, 0, 0)
    with pytest.raises(ConfigError, match=r"found a column of the type struct<bytes: binary, "):
        list(find_parts(open_source(str(path), "image", None), Counter()))


def test_a_column_whose_name_has_a_dot_is_no_field(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", 2, 2, **{"image.bytes": [b"a", b"b"]})
    assert list(find_parts(open_source(str(path), "image.bytes", None), Counter())) == [
        Part("", 2, 0)
    ]


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([b"a"])] * 2, names=["image", "image"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="a.parquet: expected one column image, found sev"):
        list(find_parts(open_source(str(tmp_path), "image", None), Counter()))


@pytest.mark.parametrize(
    ("column", "id_column", "message"),
    [
        ("name", None, r"\(binary\) in the column name, found a column of the type string"),
        ("age", None, "found a column of the type int64; .*image .binary., name .string., age"),
        ("photo", None, "in the column photo, found no such column"),
        ("image.bytes", None, "in the column image.bytes, found no such column"),
        ("image", "key", "in the column key, found no such column; .* are: image, name, age"),
    ],
)
def test_a_column_of_another_type_is_an_error(
    column: str, id_column: str | None, message: str, tmp_path: Path
) -> None:
    write_table(tmp_path / "good.parquet", 2, 2)
    path = write_table(tmp_path / "t.parquet", 2, 2, age=[1, 2])
    with pytest.raises(ConfigError, match=message) as error:
        list(find_parts(open_source(str(path), column, id_column), Counter()))
    assert str(error.value).startswith(f"{path}: expected")


def test_a_file_that_is_no_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"nonsense, which is not Parquet")
    with pytest.raises(ConfigError, match="a.parquet: cannot be read: Parquet magic bytes"):
        list(find_parts(open_source(str(tmp_path), "image", None), Counter()))


def test_a_parquet_file_without_a_column_is_an_error(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", 2, 2)
    with pytest.raises(ConfigError, match="found a Parquet file; name the column .* --column"):
        open_source(str(path), None, None)


def test_shards_have_their_size_in_the_order_of_the_parts() -> None:
    photos = [Part(f"{i}.jpg") for i in range(7)]
    assert list(shards(photos, 3)) == [photos[:3], photos[3:6], photos[6:]]
    groups = [Part("t", 4, i) for i in range(5)]
    assert list(shards(groups, 6)) == [groups[:2], groups[2:4], groups[4:]]
    assert list(shards([], 3)) == []


@pytest.mark.parametrize(
    ("source", "out", "is_included"),
    [
        ("", "", True),
        ("", "x/y", True),
        ("", "x/new/deep", True),
        ("x", "", False),
        ("x", "x-faces", False),
        ("x/*.jpg", "x/faces", False),
        ("**/*.jpg", "x/faces", False),
        ("**/*", "x/faces", True),
        ("*/*.parquet", "x", True),
        ("*/*.parquet", "x/faces", False),
        ("a.jpg", "faces", False),
        ("link", "x/faces", True),
    ],
)
@pytest.mark.usefixtures("tree")
def test_results_that_would_belong_to_the_source(
    source: str, out: str, is_included: bool, tmp_path: Path
) -> None:
    found = open_source(str(tmp_path / source), None, None)
    assert found.includes(open_storage(str(tmp_path / out))) == is_included


@pytest.mark.usefixtures("bucket")
def test_results_in_the_folder_of_a_bucket_that_is_the_source() -> None:
    source = open_source("s3://photos/party", None, None)
    assert source.includes(open_storage("s3://photos/party/faces?region=us-east-1"))
    assert not source.includes(open_storage("s3://photos/party-faces"))
    assert not source.includes(open_storage("faces"))


@pytest.mark.parametrize(
    ("photos", "workers", "size"),
    [(1, 2, 1), (8, 2, 1), (9, 2, 2), (33, 2, 5), (7999, 2, 1000), (10**4, 2, 1000), (33, 99, 1)],
)
def test_small_sources_have_shards_for_all_workers(photos: int, workers: int, size: int) -> None:
    parts = [Part(str(i)) for i in range(photos)]
    found, same = shard_size(parts, workers)
    assert found == size
    assert list(same) == parts


def test_the_list_keeps_names_of_any_bytes() -> None:
    parts = [Part(os.fsdecode(b"\xe9.png")), Part("ü/\n.jpg", 12, 3, 45)]
    assert from_table(to_table(parts)) == parts
