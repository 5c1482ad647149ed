"""Folders that were complete and lost something: they are repaired, and no photo moves."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.datasets.indexing import PrepareSummary
from halnet.datasets.prepared_dataset import PreparedDataset, crop_path
from halnet.datasets.preparing import prepare
from halnet.datasets.repair import Damage, find_damage
from halnet.datasets.split import read_split
from halnet.errors import DatasetError
from halnet.faces.detected import DetectedFace

N = 24
LANDMARKS = np.array([[24, 30], [40, 30], [32, 40], [26, 50], [38, 50]], np.float32)
SPLIT = "dataset_split_stratified.json"
TABLES = ("index.csv", "rejects.csv", SPLIT)


def write_photo(path: Path, seed: int) -> None:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (64, 64), interpolation=cv2.INTER_CUBIC))


def write_table(source: Path, count: int) -> None:
    rows = [f"{i:02d}.png,{20 + i}\n" for i in range(count)]
    (source / "photos.csv").write_text("path,age\n" + "".join(rows) + "none.png,30\n")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 30 photos with a table of the first 24, and a detector without YuNet."""

    def detect(photo: np.ndarray) -> tuple[DetectedFace, ...]:
        return (DetectedFace((0, 0, 64, 64), LANDMARKS, 0.9),) if np.ptp(photo) else ()

    monkeypatch.setattr("halnet.datasets.cropping._detector", lambda model: detect)
    monkeypatch.setattr("halnet.datasets.preparing.yunet_path", lambda detector: Path("yunet"))
    source = tmp_path / "source"
    source.mkdir()
    for i in range(30):
        write_photo(source / f"{i:02d}.png", i)
    write_table(source, N)
    return source


@pytest.fixture
def out(source: Path, tmp_path: Path) -> Path:
    """The folder that is prepared from the source."""
    out = tmp_path / "out"
    run(source, out)
    return out


def run(source: Path, out: Path, seed: int = 0) -> tuple[PrepareSummary, list[str], list[int]]:
    """Prepare; return the summary, what was repaired, and the progress."""
    repairs: list[str] = []
    done: list[int] = []
    summary = prepare(
        source / "photos.csv",
        out,
        "csv",
        shares="50/25/25",
        workers=1,
        seed=seed,
        on_progress=lambda count, total: done.append(count),
        on_repair=repairs.append,
    )
    return summary, repairs, done


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_complete_folder_is_not_touched(source: Path, out: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    summary, repairs, done = run(source, out)
    assert (summary.indexed, repairs, done) == (N, [], [])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_lost_crops_are_made_again_and_no_others(source: Path, out: Path) -> None:
    before = files(out)
    lost = [crop_path(out, f"{i:02d}.png") for i in (3, 11, 23)]
    lost[0].unlink()
    lost[1].unlink()
    lost[2].write_bytes(b"")
    kept = crop_path(out, "05.png").stat().st_mtime_ns
    _, repairs, done = run(source, out)
    assert repairs == [f"{out}: lost crops: 3; they are made again"]
    assert done == [0, 1, 2, 3]
    assert files(out) == before
    assert crop_path(out, "05.png").stat().st_mtime_ns == kept
    assert run(source, out)[1:] == ([], [])


@pytest.mark.parametrize("damage", ["rows", "bytes", "lost", "edited", "rejects"])
def test_damaged_tables_are_made_again(damage: str, source: Path, out: Path) -> None:
    before = files(out)
    index = out / "index.csv"
    if damage == "rows":
        index.write_text("".join(index.read_text().splitlines(keepends=True)[:10]))
    elif damage == "bytes":
        index.write_bytes(index.read_bytes()[:-3])
    elif damage == "lost":
        index.unlink()
    elif damage == "edited":
        index.write_text(index.read_text().replace(",train,", ",test,", 1))
    else:
        (out / "rejects.csv").unlink()
    _, (text,), _ = run(source, out)
    name = "rejects.csv is lost;" if damage == "rejects" else "index.csv is lost or damaged;"
    assert text.startswith(f"{out}: {name} all photos are prepared again")
    assert files(out) == before
    assert run(source, out)[1:] == ([], [])


def test_a_lost_split_is_made_again_as_it_was(source: Path, out: Path) -> None:
    before = files(out)
    (out / SPLIT).unlink()
    summary, repairs, done = run(source, out)
    assert repairs == [
        f"{out / SPLIT}: the file is lost; it is made again from index.csv, as it was"
    ]
    assert done == []
    assert files(out) == before
    assert summary.split_sha256 == read_split(out / SPLIT).sha256


def test_a_split_that_was_extended_is_not_replaced_by_another(source: Path, out: Path) -> None:
    """Its first photos are not the first ones of the index, so the index does not state it."""
    table = source / "photos.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join([lines[0], "29.png,40\n", *lines[1:]]))
    _, (text,), _ = run(source, out)
    assert text.startswith(f"{out}: photos were added, removed or changed since it was prepared;")
    (out / SPLIT).unlink()
    before = files(out)
    with pytest.raises(DatasetError, match=r"found no file, and index\.csv does not state the who"):
        run(source, out)
    assert files(out) == before


@pytest.mark.parametrize("lost", [("index.csv",), ("prepared.json",)])
def test_a_lost_split_is_an_error_if_nothing_proves_what_it_was(
    lost: tuple[str, ...], source: Path, out: Path
) -> None:
    for name in (SPLIT, *lost):
        (out / name).unlink()
    before = files(out)
    with pytest.raises(DatasetError, match=f"{SPLIT}: .*found no file.*name another folder with"):
        run(source, out)
    assert files(out) == before


def test_another_split_is_an_error(source: Path, out: Path, tmp_path: Path) -> None:
    (source / "photos.csv").write_text(
        "path,age\n" + "".join(f"{i:02d}.png,{60 - i}\n" for i in range(N))
    )
    run(source, tmp_path / "other")
    write_table(source, N)
    (out / SPLIT).write_bytes((tmp_path / "other" / SPLIT).read_bytes())
    before = files(out)
    stated = json.loads((out / "prepared.json").read_text())["split_sha256"]
    with pytest.raises(DatasetError, match=f"SHA-256 {stated[:12]}.*which prepared.json states"):
        run(source, out)
    assert files(out) == before
    (out / SPLIT).unlink()  # the cure that the message names
    run(source, out)
    assert read_split(out / SPLIT).sha256 == stated


def test_a_replaced_photo_is_prepared_again(source: Path, out: Path) -> None:
    before = PreparedDataset(out)
    photo = source / "07.png"
    state = photo.stat()
    write_photo(photo, 99)
    os.utime(photo, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert photo.stat().st_size != state.st_size, "only the size tells"
    _, (text,), done = run(source, out)
    assert text.startswith(f"{out}: photos were replaced since it was prepared; all photos are")
    assert done[-1] == N + 1
    after = PreparedDataset(out)
    assert {r.source: r.split for r in after.records} == {r.source: r.split for r in before.records}
    assert [a.source for a, b in zip(after.records, before.records, strict=True) if a != b] == [
        "07.png"
    ]
    os.utime(photo)
    assert len(run(source, out)[1]) == 1, "only the time tells"
    assert run(source, out)[1:] == ([], [])


def test_a_photo_that_was_replaced_by_one_without_a_face(source: Path, out: Path) -> None:
    cv2.imwrite(str(source / "07.png"), np.full((64, 64, 3), 9, np.uint8))
    split = read_split(out / SPLIT)
    summary, _, _ = run(source, out)
    assert (summary.indexed, summary.reasons["no face found"]) == (N - 1, 1)
    assert read_split(out / SPLIT) == split


def test_a_lost_crop_of_a_replaced_photo_of_an_older_version(source: Path, out: Path) -> None:
    """The folder does not state the files, but the new crop is not the one of the index."""
    path = out / "prepared.json"
    values = json.loads(path.read_text())
    del values["files_sha256"]
    path.write_text(json.dumps(values))
    write_photo(source / "07.png", 99)
    assert run(source, out)[1:] == ([], [])
    crop_path(out, "07.png").unlink()
    _, repairs, done = run(source, out)
    assert repairs == [f"{out}: lost crops: 1; they are made again"]
    assert done == [0, 0, *range(N + 2)], "all photos follow"
    assert find_damage(out, ()) == Damage()
    assert run(source, out)[1:] == ([], [])


def test_an_interrupted_update_is_continued(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends after it wrote a larger split, and before it stated it."""
    write_table(source, N + 6)

    def fail(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("halnet.datasets.indexing.write_text", fail)
        with pytest.raises(KeyboardInterrupt):
            run(source, out)
    with pytest.raises(DatasetError, match="expected the split with SHA-256"):
        PreparedDataset(out)
    summary, repairs, done = run(source, out)
    assert (summary.indexed, repairs, done) == (N + 6, [], [N + 7])
    assert len(PreparedDataset(out).records) == N + 6
