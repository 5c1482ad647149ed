"""The result folder: what is to be done, what is done, and what cannot be continued."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halnet.ages import AGE_MAX
from halnet.batch.config import BatchConfig, Plan
from halnet.batch.parts import open_source
from halnet.batch.result_folder import ResultFolder
from halnet.batch.storage import open_storage
from halnet.batches import FaceSelection
from halnet.errors import ConfigError
from halnet.result_files import COLUMNS, column_type, name_columns
from halnet.runtimes.fake import FakeRuntime

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SPEC = FakeRuntime().spec
SETTINGS = {"SOURCE": "/album", "level": 0.9}


def make(album: Path, out: Path, size: int = 10) -> tuple[ResultFolder, Plan]:
    folder = ResultFolder(open_storage(str(out)))
    return folder, folder.make_plan(open_source(str(album), None, None), SETTINGS, size)


def test_a_plan_is_read_as_it_was_written(album: Path, tmp_path: Path) -> None:
    folder, plan = make(album, tmp_path / "out")
    assert plan == Plan(
        {**SETTINGS, "shard": 10}, [10, 10, 10, 3], {"other files": 1, MAC: 1}, False, plan.run
    )
    assert folder.read_plan() == plan
    names = [part.file for shard in range(4) for part in folder.parts(plan.run, shard)]
    assert len(names) == len(set(names)) == 33
    assert {name for name in names if "/" not in name} == {"wall.png", "cut.png", "empty.jpg"}
    assert folder.done() == frozenset()


def test_another_run_in_the_same_folder_is_found(album: Path, tmp_path: Path) -> None:
    """In a bucket, no lock keeps two runs apart."""
    folder, plan = make(album, tmp_path)
    message = f"{tmp_path}: expected one run, found that another one has begun.*; name another"
    with pytest.raises(ConfigError, match=message):
        make(album, tmp_path, size=5)
    assert folder.read_plan() == plan
    assert [len(folder.parts(plan.run, shard)) for shard in range(4)] == [10, 10, 10, 3]
    folder.check_run(plan.run)
    (tmp_path / "_halnet" / "batch.json").unlink()
    with pytest.raises(ConfigError, match="found that another one has begun"):
        folder.check_run(plan.run)
    make(album, tmp_path, size=5)
    with pytest.raises(ConfigError, match="found that another one has begun"):
        folder.check_run(plan.run)


MAC = "files that macOS adds"


def test_a_folder_without_photos_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "film.mp4").touch()
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="expected photos, found none; left out: videos: 1"):
        make(tmp_path / "empty", out)
    assert not out.exists()


def test_result_files_have_the_columns_of_csv_with_types(tmp_path: Path) -> None:
    folder = ResultFolder(open_storage(str(tmp_path)))
    columns = name_columns((18,), quality=True)
    row = {"photo": "a\udce9.jpg", "face": 1, "age": 30, "at_least_18": 0.5, "format": 2}
    folder.write(7, columns, [row, {"photo": "b.jpg", "error": "no face found"}])
    (tmp_path / "notes.parquet").touch()
    assert folder.done() == {7}
    table = pq.read_table(tmp_path / "000007.parquet")
    assert tuple(table.schema.names) == columns
    kinds = {"photo": "string", "error": "string", "face": "int64", "track": "int64"}
    kinds |= {"format": "int64", "turned": "int64", "model": "string"}
    assert {f.name: str(f.type) for f in table.schema} == {
        name: kinds.get(name, "double") for name in columns
    }
    assert table.column("photo").to_pylist() == ["a\\xe9.jpg", "b.jpg"]
    assert table.column("age").to_pylist() == [30.0, None]
    assert column_type("quality_sharpness") is float
    assert set(COLUMNS) < set(columns)


def test_a_reader_of_the_folder_finds_the_results_only(album: Path, tmp_path: Path) -> None:
    from pyarrow.dataset import dataset

    folder, _ = make(album, tmp_path)
    for shard in (0, 1):
        folder.write(shard, ("photo",), [{"photo": f"{shard}.jpg"}])
    assert dataset(tmp_path).to_table().to_pydict() == {"photo": ["0.jpg", "1.jpg"]}


@pytest.mark.parametrize("where", ["result", "list"])
def test_a_full_disk_is_an_error_that_leaves_no_half_file(
    where: str, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    folder, _ = make(album, out)
    before = sorted(out.rglob("*"))

    def fill(*args: object, **values: object) -> None:
        Path(str(args[-1] if where == "result" else args[0])).write_bytes(b"PAR1")
        raise OSError(errno.ENOSPC, "No space left on device")

    name = "write_table" if where == "result" else "ParquetWriter"
    monkeypatch.setattr(pq, name, fill)
    end = " with --resume$" if where == "result" else "$"  # without a plan, there is no run
    message = f"cannot be written: No space left on dev.* then repeat the command{end}"
    with pytest.raises(ConfigError, match=message):
        if where == "result":
            folder.write(0, COLUMNS, [])
        else:
            make(album, out)
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "expected what halnet batch writes, found another file"),
        ("[]", "expected what halnet batch writes, found another file"),
        ('{"format": 1}', "expected what halnet batch writes, found another file"),
        ('{"format": 1, "more": 2}', "expected what halnet batch writes, found another file"),
    ],
)
def test_a_damaged_plan_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "_halnet").mkdir()
    (tmp_path / "_halnet" / "batch.json").write_text(text)
    with pytest.raises(ConfigError, match=f"_halnet/batch.json: {message}"):
        ResultFolder(open_storage(str(tmp_path))).read_plan()


def test_a_plan_of_a_newer_version_is_an_error(album: Path, tmp_path: Path) -> None:
    folder, _ = make(album, tmp_path)
    path = tmp_path / "_halnet" / "batch.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(ConfigError, match="expected format 1, found 2; update halnet"):
        folder.read_plan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detector": None}, "detector YuNet 8f2383e4dd3c, found one with a function"),
        ({"min_face": 20.0}, "min-face 20.0, found one with 0.0"),
        ({"quality": True}, "quality True, found one with False"),
        ({"selection": FaceSelection(level=0.5)}, "level 0.5, found one with 0.9"),
        ({"selection": FaceSelection(largest=True)}, "faces largest, found one with all"),
        ({"selection": FaceSelection(at_least=(AGE_MAX,))}, "at-least 100, found one with none"),
    ],
)
def test_other_options_are_not_continued(
    change: dict[str, object], message: str, make_config: Callable[..., BatchConfig]
) -> None:
    first = make_config("a", "b")
    second = replace(first, prediction=replace(first.prediction, **change))
    plan = Plan(first.settings("a", SPEC), [1], {}, False, "run")
    plan.check("out", first.settings("a", SPEC))
    with pytest.raises(ConfigError, match=f"out: expected a run with {message}; repeat the opt"):
        plan.check("out", second.settings("a", SPEC))


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        ("b", {}, "SOURCE b, found one with a"),
        (
            "a",
            {"metadata": replace(SPEC.metadata, precision="int8")},
            "model .* int8, found .* fp32",
        ),
        ("a", {"runtime": "openvino"}, "runtime openvino, found one with fake"),
        ("a", {"provider": "cuda:0"}, "device cuda:0, found one with "),
    ],
)
def test_another_source_model_or_runtime_is_not_continued(
    source: str,
    change: dict[str, Any],
    message: str,
    make_config: Callable[..., BatchConfig],
) -> None:
    config = make_config("a", "b")
    plan = Plan(config.settings("a", SPEC), [1], {}, False, "run")
    with pytest.raises(ConfigError, match=message):
        plan.check("out", config.settings(source, replace(SPEC, **change)))


def test_shards_of_another_size_are_not_continued(
    album: Path, tmp_path: Path, make_config: Callable[..., BatchConfig]
) -> None:
    _, plan = make(album, tmp_path / "out", size=7)
    plan.check("out", {"shard": 7})
    plan.check("out", {})  # the size is not named
    with pytest.raises(ConfigError, match="run with shard 9, found one with 7; repeat"):
        plan.check("out", {"shard": 9})
    assert "shard" not in make_config("a", "b").settings("a", SPEC)
    assert make_config("a", "b", shard=9).settings("a", SPEC)["shard"] == 9
