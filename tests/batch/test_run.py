"""A run of `halnet batch` on a real Ray cluster: each photo once, whatever is killed in between."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet import DetectedFace, Detector
from halnet.artifact import bundled
from halnet.batch.config import BatchConfig
from halnet.batch.counts import Counts
from halnet.batch.run import BatchSummary, _count_workers, _with_absolute_paths, run_batch
from halnet.commands import group, run
from halnet.cores import Cores
from halnet.errors import ConfigError, RuntimeUnavailableError
from halnet.files import locked
from halnet.prediction_run import OpenProgress, RunOutcome, run_prediction
from halnet.result_files import column_type
from halnet.runtimes.base import RuntimeSpec

pq = pytest.importorskip("pyarrow.parquet")

DOCUMENT = Path(__file__).parents[2] / "docs" / "batch.md"
MakeConfig = Callable[..., BatchConfig]
Rows = list[dict[str, Any]]


def rows(out: Path) -> Rows:
    """Return all rows in a result folder, sorted by photo and face."""
    found = [row for file in out.glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    return sorted(found, key=lambda row: (row["photo"], row["face"] or 0))


def csv_rows(path: Path) -> Rows:
    """Return the rows of a CSV file with values of the types of the columns, sorted likewise."""
    with path.open(encoding="utf-8", newline="") as file:
        found = [
            {name: column_type(name)(text) if text else None for name, text in row.items()}
            for row in csv.DictReader(file)
        ]
    return sorted(found, key=lambda row: (row["photo"], row["face"] or 0))


def with_detector(config: BatchConfig, detector: Detector) -> BatchConfig:
    return replace(config, prediction=replace(config.prediction, detector=detector))


@pytest.fixture(scope="module")
def expected(
    album: Path, make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory
) -> Rows:
    """The rows of `halnet predict --csv` for the album."""
    path = tmp_path_factory.mktemp("csv") / "faces.csv"
    run_prediction(replace(make_config("", "").prediction, sources=(str(album),), csv=path))
    found = csv_rows(path)
    assert len(found) == 63
    return found


@pytest.mark.usefixtures("ray_cluster")
def test_a_batch_has_the_rows_of_predict(
    album: Path,
    expected: Rows,
    make_config: MakeConfig,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen = []
    summary = run_batch(
        make_config(album, tmp_path, shard=7, workers=2),
        lambda spec, skipped: seen.append((spec.runtime, skipped)),
    )
    assert seen == [("fake", 0)]
    assert capfd.readouterr() == ("", "")  # Ray prints nothing
    assert rows(tmp_path) == expected
    assert len(list(tmp_path.glob("*.parquet"))) == 5
    assert summary.counts == Counts(photos=33, faces=60, without_face=1, unread=2)
    assert (summary.skipped, summary.outcome) == (0, RunOutcome.PARTIAL)
    again = run_batch(make_config(album, tmp_path, resume=True))  # there is nothing to do
    assert (again.counts, again.skipped) == (summary.counts, 33)
    assert again.outcome == summary.outcome
    assert rows(tmp_path) == expected


@pytest.mark.usefixtures("ray_cluster")
def test_a_worker_that_is_killed_loses_no_photo(
    album: Path, expected: Rows, make_config: MakeConfig, detector: Detector, tmp_path: Path
) -> None:
    marker = tmp_path / "killed"

    def deadly(photo: np.ndarray) -> list[DetectedFace]:
        if 100 < photo[0, 0, 0] < 105 and not marker.exists():  # 40 years, in the middle
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return list(detector(photo))

    config = with_detector(make_config(album, tmp_path / "out", shard=7, workers=2), deadly)
    summary = run_batch(config)
    assert marker.exists()
    assert summary.counts.photos == 33
    assert rows(tmp_path / "out") == expected


@pytest.mark.usefixtures("ray_cluster")
def test_a_photo_that_kills_each_worker_leaves_the_others(
    album: Path, expected: Rows, make_config: MakeConfig, detector: Detector, tmp_path: Path
) -> None:
    def deadly(photo: np.ndarray) -> list[DetectedFace]:
        if 100 < photo[0, 0, 0] < 105:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(detector(photo))

    config = make_config(album, tmp_path, shard=7, workers=1)
    with pytest.raises(ConfigError, match=r"7 photos have no result, .*ended 3 times or") as error:
        run_batch(with_detector(config, deadly))
    first, last = re.findall(r"from (\S+) to (\S+);", str(error.value))[0]
    assert first < "1/40.png" < last
    assert len(list(tmp_path.glob("*.parquet"))) == 4
    summary = run_batch(replace(config, resume=True))
    assert (summary.counts, summary.skipped) == (Counts(33, 60, 1, 2), 26)
    assert rows(tmp_path) == expected


DRIVER = """
import os, pickle, signal, sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ray import cloudpickle
from halnet.batch.run import run_batch

config = cloudpickle.loads(Path(sys.argv[1]).read_bytes())

def show(done, total):
    if done >= total / 3:
        os.kill(os.getpid(), signal.SIGKILL)

run_batch(replace(config, address=sys.argv[2]), open_progress=lambda label: nullcontext(show))
"""


def test_a_run_that_is_killed_continues(
    ray_cluster: str, album: Path, expected: Rows, make_config: MakeConfig, tmp_path: Path
) -> None:
    from ray import cloudpickle

    config = make_config(album, tmp_path / "out", shard=4, workers=1)
    (tmp_path / "config").write_bytes(cloudpickle.dumps(config))
    command = [sys.executable, "-c", DRIVER, tmp_path / "config", ray_cluster]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(ConfigError, match="out: has results already; add --resume"):
        run_batch(config)
    before = len(list((tmp_path / "out").glob("*.parquet")))
    assert 3 <= before < 9
    summary = run_batch(replace(config, resume=True, shard=None))  # the shards stay as they are
    assert summary.skipped >= 4 * before
    assert summary.counts == Counts(33, 60, 1, 2)
    assert rows(tmp_path / "out") == expected
    with pytest.raises(ConfigError, match="run with level 0.5, found one with 0.9"):
        selection = replace(config.prediction.selection, level=0.5)
        prediction = replace(config.prediction, selection=selection)
        run_batch(replace(config, resume=True, prediction=prediction))


@pytest.mark.usefixtures("ray_cluster")
def test_a_source_with_fewer_shards_than_workers(
    album: Path, make_config: MakeConfig, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run_batch(make_config(album / "cut.png", tmp_path / "one", workers=2))
    assert not [warning for warning in recwarn if "actors" in str(warning.message)]
    run_batch(make_config(album, tmp_path / "all", workers=2))
    assert len(list((tmp_path / "all").glob("*.parquet"))) == 7  # of 5 photos each, but the last


def test_an_interrupted_command_says_how_to_continue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(config: BatchConfig, on_start: object, open_progress: OpenProgress) -> None:
        with open_progress("photos"):
            raise KeyboardInterrupt

    monkeypatch.setattr("halnet.commands.batch.run_batch", interrupt)
    assert run(group, ["batch", "photos", "out"]) == 130
    assert "repeat the command with --resume to continue" in capsys.readouterr().err


def test_what_ray_prints_is_not_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(*args: object) -> BatchSummary:
        print("(raylet) A worker died or was killed")
        return BatchSummary("out", Counts(3, 4), 0, {}, RunOutcome.COMPLETE)

    monkeypatch.setattr("halnet.commands.batch.run_batch", work)
    assert run(group, ["batch", "photos", "out", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["photos"] == 3
    assert err == ""


@pytest.mark.usefixtures("ray_cluster")
def test_results_that_cannot_be_written_end_the_run(
    album: Path, expected: Rows, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(album, tmp_path, shard=7, workers=1)
    with pytest.raises(ConfigError, match=r"000002.parquet: cannot be written: .*--resume"):
        run_batch(config, lambda spec, skipped: (tmp_path / "000002.parquet").mkdir())
    assert [file.name for file in tmp_path.glob(".halnet*")] == []
    (tmp_path / "000002.parquet").rmdir()
    run_batch(replace(config, resume=True))
    assert rows(tmp_path) == expected


@pytest.mark.usefixtures("ray_cluster")
def test_more_workers_than_cores_are_an_error(
    album: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="expected at most 2, because each needs 1 of the 2 c"):
        run_batch(make_config(album, out, workers=3))
    assert not out.exists()


@pytest.mark.parametrize(("values", "cores"), [({"workers": 99}, 2), ({"workers": 1}, 1), ({}, 2)])
def test_ray_starts_with_no_more_cores_than_there_are(
    values: dict[str, int],
    cores: int,
    album: Path,
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def start(address: str | None, count: int) -> None:
        asked.append(count)
        raise ConfigError("no Ray")

    monkeypatch.setattr("halnet.batch.run.ray_session", start)
    monkeypatch.setattr("halnet.batch.run.find_cores", lambda: Cores(2, 8))
    with pytest.raises(ConfigError, match="no Ray"):
        run_batch(make_config(album, tmp_path / "out", **values))
    assert asked == [cores]


@pytest.mark.parametrize(
    ("threads", "workers", "message"),
    [
        (1, 99, "--workers: expected at most 4, because each needs 1 of the 4 cores .* found 99"),
        (2, 3, "--workers: expected at most 2, because each needs 2 of the 4 cores .* found 3"),
        (8, None, "--threads: expected at most 4, the cores that Ray has, found 8; name fewer"),
    ],
)
def test_workers_must_fit_the_cores(
    threads: int, workers: int | None, message: str, make_config: MakeConfig
) -> None:
    config = make_config("a", "b", workers=workers)
    options = replace(config.prediction.options, threads=threads)
    config = replace(config, prediction=replace(config.prediction, options=options))
    with pytest.raises(ConfigError, match=message):
        _count_workers(config, 4.0)


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_without_results_can_be_continued_only(
    album: Path, expected: Rows, make_config: MakeConfig, tmp_path: Path
) -> None:
    def stop(spec: RuntimeSpec, skipped: int) -> None:
        raise KeyboardInterrupt

    config = make_config(album, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_batch(config, stop)
    with pytest.raises(ConfigError, match="has a run without results yet; add --resume"):
        run_batch(config)
    run_batch(replace(config, resume=True))
    assert rows(tmp_path) == expected


def test_there_must_be_a_run_to_continue(
    album: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="out: expected a run to continue, found none; leave"):
        run_batch(make_config(album, out, resume=True))
    assert not out.exists()


@pytest.mark.usefixtures("ray_cluster")
def test_the_command_reads_and_writes_a_bucket(
    bucket: Callable[[str, bytes], None],
    yunet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The workers get the variables of the bucket from this process, so they are addresses here."""
    portrait = bundled("portrait.jpg").read_bytes()
    bucket("people/a.jpg", portrait)
    bucket("people/cut.jpg", portrait[:20000])
    endpoint = os.environ["AWS_ENDPOINT_URL"].replace("http://", "")
    options = f"?endpoint_override={endpoint}&scheme=http&region=us-east-1"
    place = "s3://key:secret@photos"
    command = ["batch", f"{place}/people{options}", f"{place}/out{options}", "--json"]
    command += ["--detector", str(yunet), "--workers", "1", "--at-least", "18"]
    assert run(group, command) == 1
    entry = json.loads(capsys.readouterr().out)
    assert (entry["photos"], entry["faces"], entry["unread"]) == (2, 1, 1)
    assert entry["out"] == "s3://photos/out"

    from pyarrow.fs import FileSystem

    system, root = FileSystem.from_uri(f"s3://photos/out{options}")
    found = pq.read_table(root, filesystem=system).to_pylist()
    assert [row["photo"] for row in found] == [
        "s3://photos/people/a.jpg",
        "s3://photos/people/cut.jpg",
    ]
    assert "secret" not in str(found)
    path = tmp_path / "a.jpg"
    path.write_bytes(portrait)
    faces = str(tmp_path / "faces.csv")
    predict = ["predict", str(path), "--csv", faces, "--detector", str(yunet), "--at-least", "18"]
    assert run(group, predict) == 0
    assert {**found[0], "photo": str(path)} == csv_rows(Path(faces))[0]


@pytest.mark.usefixtures("ray_cluster")
def test_the_commands_of_the_documentation(
    yunet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import pyarrow as pa

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HALNET_YUNET", str(yunet))
    portrait = bundled("portrait.jpg").read_bytes()
    Path("photos/deep").mkdir(parents=True)
    Path("photos/deep/a.jpg").write_bytes(portrait)
    pq.write_table(pa.table({"image": [portrait], "name": ["me"]}), "table.parquet")
    text = DOCUMENT.read_text(encoding="utf-8")
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    commands = [line for line in lines if line.startswith("halnet ")]
    assert len(commands) == 4
    for line in commands:
        assert run(group, [*shlex.split(line, comments=True)[1:], "--workers", "1"]) == 0, line
    out = capsys.readouterr().out
    assert out.count(": 1 faces in 1 photos") == 4  # also with --resume
    ages = {folder: rows(Path(folder))[0]["age"] for folder in ("faces", "jpegs", "rows")}
    assert len(set(ages.values())) == 1
    assert rows(Path("rows"))[0]["photo"] == "me"
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, DOCUMENT, "exec"), {})
    assert f"{ages['faces']}" in capsys.readouterr().out


def test_only_one_run_at_a_time_writes_into_a_folder(
    album: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    with locked(tmp_path, "batch"), pytest.raises(ConfigError, match="another batch into this"):
        run_batch(make_config(album, tmp_path))


@pytest.mark.parametrize("name", ["000000.parquet", "notes.txt", "deep/"])
def test_a_new_run_needs_an_empty_folder(
    name: str, album: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    name = name.rstrip("/")
    with pytest.raises(ConfigError, match=f"expected a new or empty folder, .* found {name} in it"):
        run_batch(make_config(album, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("folder", ["", "0", "new/deep"])
def test_results_may_not_be_written_into_the_source(
    folder: str, album: Path, make_config: MakeConfig
) -> None:
    with pytest.raises(ConfigError, match="folder for the results that is not in SOURCE, found"):
        run_batch(make_config(album, album / folder))
    assert not (album / "new").exists()


@pytest.mark.parametrize("package", ["pyarrow", "ray"])
def test_a_missing_package_names_the_extra(
    package: str,
    album: Path,
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'halnet\[ray\]'"):
        run_batch(make_config(album, tmp_path / "out"))


def test_a_column_of_names_needs_a_column_of_photos(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match="--id names a column of Parquet files"):
        make_config("a", "b", id_column="name")


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("halnet-accurate", "halnet-accurate"),
        ("http://127.0.0.1:8000", "http:/127.0.0.1:8000"),
        ("deploy/halnet.onnx", str(Path("deploy/halnet.onnx").absolute())),
        (None, None),
    ],
)
def test_only_the_paths_of_models_are_made_absolute(
    model: str | None, kept: str | None, make_config: Callable[..., BatchConfig]
) -> None:
    """A name stands for a file of the package, on each machine, and an address for a server."""
    config = make_config("a", "b")
    path = None if model is None else Path(model)
    config = replace(config, prediction=replace(config.prediction, model=path))
    found = _with_absolute_paths(config).prediction.model
    assert (None if found is None else str(found)) == kept
