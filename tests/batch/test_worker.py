"""The worker: the faces of one shard, by any kind of source, and a storage that fails."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halnet.batch.config import BatchConfig
from halnet.batch.counts import Counts
from halnet.batch.parts import Part, Source, open_source
from halnet.batch.result_folder import ResultFolder
from halnet.batch.storage import Storage, open_storage
from halnet.batch.worker import REFUSED, BatchWorker, read_photos
from halnet.errors import ConfigError, ImageError
from halnet.result_files import model_name
from halnet.runtimes.fake import FakeRuntime

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SPEC = FakeRuntime().spec
MODEL = model_name(SPEC)
MakeConfig = Callable[..., BatchConfig]


def predict(config: BatchConfig) -> tuple[list[Counts], list[dict[str, Any]]]:
    """Predict all shards of a source here; return the counts of each and all rows."""
    folder = ResultFolder(open_storage(config.out))
    source = open_source(config.source, config.column, config.id_column)
    plan = folder.make_plan(source, config.settings(source.name, SPEC), config.shard)
    worker = BatchWorker(config, MODEL, plan.run)
    counts = [worker.predict(shard) for shard in range(len(plan.photos))]
    files = sorted(Path(config.out).glob("*.parquet"))
    return counts, [row for file in files for row in pq.read_table(file).to_pylist()]


def test_each_face_and_each_photo_without_one_has_a_row(
    album: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    counts, rows = predict(make_config(album, tmp_path / "out", shard=12))
    assert [count.photos for count in counts] == [12, 12, 9]
    total = Counts()
    for count in counts:
        total.add(count)
    assert total == Counts(photos=33, faces=60, without_face=1, unread=2)
    folder = ResultFolder(open_storage(str(tmp_path / "out")))
    plan = folder.read_plan()
    assert plan is not None
    assert [folder.count(plan, [shard]) for shard in range(3)] == counts
    assert folder.count(plan, range(3)) == total
    (tmp_path / "out" / "000001.parquet").write_bytes(b"half a file")
    with pytest.raises(ConfigError, match="000001.parquet: cannot be read: .*; remove it and rep"):
        folder.count(plan, range(3))
    ages = {(row["photo"], row["face"]): row["age"] for row in rows if row["error"] is None}
    assert len(ages) == 60
    for age in range(20, 50):
        photo = f"{album}/{age % 3}/{age}.png"
        assert ages[photo, 1] == pytest.approx(age, abs=0.3)
        assert ages[photo, 2] == pytest.approx(90, abs=1)
    errors = {row["photo"]: row["error"] for row in rows if row["error"] is not None}
    assert errors == {
        f"{album}/wall.png": "no face found",
        f"{album}/cut.png": f"{album}/cut.png: the image data is damaged or cut off",
        f"{album}/empty.jpg": f"{album}/empty.jpg: the file is empty",
    }


def test_options_of_predict_count(album: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    config = make_config(album / "0", tmp_path / "out")
    prediction = config.prediction
    selection = replace(prediction.selection, largest=True, level=0.5, at_least=(18,))
    prediction = replace(prediction, selection=selection, quality=True)
    _, rows = predict(replace(config, prediction=prediction))
    assert [row["face"] for row in rows] == [1] * 10
    assert {row["level"] for row in rows} == {0.5}
    assert all(row["at_least_18"] > 0.6 and row["quality_sharpness"] is not None for row in rows)


def test_the_photos_of_a_bucket_have_the_same_ages(
    album: Path, bucket: Callable[[str, bytes], None], tmp_path: Path, make_config: MakeConfig
) -> None:
    _, local = predict(make_config(album, tmp_path / "local"))
    _, remote = predict(make_config("s3://photos/party", tmp_path / "remote"))
    for row in local:
        row["photo"] = row["photo"].replace(str(album), "s3://photos/party")
        row["error"] = row["error"] and row["error"].replace(str(album), "s3://photos/party")

    def key(row: dict[str, Any]) -> tuple[str, int]:
        return row["photo"], row["face"] or 0

    assert sorted(remote, key=key) == sorted(local, key=key)


@pytest.fixture
def table(tmp_path: Path, encode_photo: Callable[..., bytes]) -> Path:
    """A Parquet file with the ages 20 to 29, a row without bytes and one with bad ones."""
    images = [*(encode_photo(age) for age in range(20, 30)), None, b"nonsense"]
    names = [*(f"p{age}" for age in range(20, 30)), "none", None]
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"image": images, "name": names}), path, row_group_size=5)
    return path


def test_the_photos_in_parquet_files_have_rows(
    table: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(table, tmp_path / "out", column="image", id_column="name", shard=4)
    counts, rows = predict(config)
    assert [count.photos for count in counts] == [5, 5, 2]
    ages = {row["photo"]: row["age"] for row in rows if row["face"] == 1}
    assert ages == {f"p{age}": pytest.approx(age, abs=0.3) for age in range(20, 30)}
    errors = {row["photo"]: row["error"] for row in rows if row["error"] is not None}
    assert errors["none"] == "none: there are no bytes in this row"
    assert errors[f"{table}#11"].startswith(f"{table}#11: not a JPEG, PNG")
    assert len(rows) == 22


def test_an_object_whose_name_cannot_be_used_has_a_row(
    bucket: Callable[[str, bytes], None],
    encode_photo: Callable[..., bytes],
    tmp_path: Path,
    make_config: MakeConfig,
) -> None:
    for name in ("odd/a//b.png", "odd/good.png"):
        bucket(name, encode_photo(30))
    _, rows = predict(make_config("s3://photos/odd", tmp_path / "out"))
    errors = {row["photo"]: row["error"] for row in rows}
    assert errors["s3://photos/odd/good.png"] is None
    assert "cannot be read: Empty path component" in errors["s3://photos/odd/a//b.png"]


def test_names_that_are_bytes_become_text_and_a_column_may_have_a_dot(
    tmp_path: Path, encode_photo: Callable[..., bytes], make_config: MakeConfig
) -> None:
    columns = {"image.bytes": [encode_photo(30)] * 2, "name": ["jä".encode(), b"\xff"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    _, rows = predict(
        make_config(
            tmp_path / "t.parquet", tmp_path / "out", column="image.bytes", id_column="name"
        )
    )
    assert [(row["photo"], row["error"]) for row in rows if row["face"] == 1] == [
        ("jä", None),
        (r"\xff", None),
    ]


def test_rows_without_an_id_have_their_number(
    table: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    _, rows = predict(make_config(table, tmp_path / "out", column="image"))
    found = [row["photo"] for row in rows if row["face"] in (1, None)]
    assert found == [f"{table}#{row}" for row in range(12)]


def test_rows_with_more_bytes_than_a_photo_may_have_are_not_read(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.photos.images.MAX_BYTES", 50)
    source = open_source(str(table), "image", None)
    (_, first), *_ = read_photos(source, [Part("", 5, 0, 0)])
    assert str(first).startswith(f"{table}#0: more bytes than the 50 allowed")


@pytest.mark.parametrize("damaged", [("image",), ("image", "name")])
def test_rows_of_a_damaged_page_have_an_error(
    damaged: tuple[str, ...], table: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    group = pq.read_metadata(table).row_group(1)  # the description at the end stays good
    data = bytearray(table.read_bytes())
    for index, column in enumerate(("image", "name")):
        chunk = group.column(index)
        first = chunk.dictionary_page_offset or chunk.data_page_offset
        if column in damaged:
            data[first : first + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    table.write_bytes(data)
    config = make_config(table, tmp_path / "out", column="image", id_column="name", shard=4)
    counts, rows = predict(config)
    assert [(count.photos, count.unread) for count in counts] == [(5, 0), (5, 5), (2, 2)]
    names = [f"{table}#{row}" if "name" in damaged else f"p{20 + row}" for row in range(5, 10)]
    errors = {row["photo"]: row["error"] for row in rows if row["error"] is not None}
    assert list(errors)[:5] == names
    start = f"{names[1]}: row 6 of {table} cannot be read: Couldn't deserialize"
    assert errors[names[1]].startswith(start)
    assert sum(row["face"] == 1 for row in rows) == 5


def test_a_parquet_file_that_its_storage_does_not_give_ends_the_run(
    table: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(table, tmp_path / "out", column="image")
    source = open_source(config.source, config.column, None)
    plan = ResultFolder(open_storage(config.out)).make_plan(source, {}, 10)
    assert plan.photos == [10, 2]
    table.unlink()
    with pytest.raises(ConfigError, match=r"table.parquet: cannot be read from row 0 on: .*--res"):
        BatchWorker(config, MODEL, plan.run).predict(0)
    assert not list((tmp_path / "out").glob("*.parquet"))


class _Unsteady:
    """A file that cannot be read any more after its description was read."""

    def __init__(self, file: Any) -> None:
        self._file, self._reads = file, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads > 1:
            raise OSError("AWS Error TIMEOUT")
        return self._file.read(size)


def test_a_storage_that_fails_within_a_parquet_file_ends_the_run(table: Path) -> None:
    class Storage:
        name_of = staticmethod(lambda file: "s3://photos/table.parquet")
        open = staticmethod(lambda file: pa.PythonFile(_Unsteady(table.open("rb")), mode="r"))

    storage: Any = Storage
    with pytest.raises(ConfigError, match="from row 0 on: AWS Error TIMEOUT; check the network"):
        list(read_photos(Source(storage, (), "image", None), [Part("", 5, 0, 0)]))


class _Failing:
    """A storage in which the photos of some numbers cannot be read."""

    name = "s3://photos"

    def __init__(self, fails: Callable[[int], bool], error: OSError) -> None:
        self._fails, self._error = fails, error

    def name_of(self, file: str) -> str:
        return f"s3://photos/{file}"

    def read(self, file: str) -> bytes:
        if self._fails(int(file)):
            raise self._error
        return b"photo"


def read(fails: Callable[[int], bool], error: OSError) -> Iterator[tuple[str, Any]]:
    storage: Any = _Failing(fails, error)
    return read_photos(Source(storage, (), None, None), [Part(str(i)) for i in range(100)])


def test_an_object_that_cannot_be_read_is_an_error_of_this_photo() -> None:
    found = dict(read(lambda i: i % 2 == 0, OSError("AWS Error ACCESS_DENIED (Request ID: x)")))
    assert len(found) == 100
    error = found["s3://photos/4"]
    assert isinstance(error, ImageError)
    assert str(error) == "s3://photos/4: cannot be read: AWS Error ACCESS_DENIED"
    assert found["s3://photos/5"] == b"photo"


def test_a_storage_that_fails_ends_the_run() -> None:
    """Otherwise, millions of photos would get an error because of a network that fails."""
    names = []
    with pytest.raises(ConfigError, match="20 photos after each other .*TIMEOUT; check the net"):
        for name, _ in read(lambda i: i >= 30, OSError("AWS Error TIMEOUT")):
            names.append(name)
    assert len(names) == 30 + REFUSED - 1


def test_photos_that_were_removed_do_not_end_the_run() -> None:
    found = dict(read(lambda i: i >= 30, FileNotFoundError(2, "No such file or directory")))
    assert len(found) == 100
    assert str(found["s3://photos/99"]).endswith("cannot be read: No such file or directory")


def test_a_worker_with_another_model_ends_the_run(
    album: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(album, tmp_path / "out")
    folder = ResultFolder(open_storage(config.out))
    plan = folder.make_plan(open_source(str(album), None, None), {}, 10)
    answer = BatchWorker(config, "0123 int8", plan.run)({"shard": [0]})
    (error,) = answer["error"]
    assert error.startswith(f"model: expected 0123 int8 on each machine, found {MODEL} in fake;")


def test_a_result_that_cannot_be_written_is_an_answer(
    album: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    config = make_config(album, tmp_path / "out")
    folder = ResultFolder(open_storage(config.out))
    plan = folder.make_plan(open_source(str(album), None, None), {}, 10)
    (tmp_path / "out" / "000000.parquet").mkdir()
    answer = BatchWorker(config, MODEL, plan.run)({"shard": [0]})
    assert "000000.parquet: cannot be written: " in answer["error"][0]
    assert answer["photos"] == [0]
    assert isinstance(open_storage(config.out), Storage)
