"""Whole runs of preparing: complete, interrupted, repeated and failed."""

import csv
import json
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.benchmarks.samples import portrait
from halnet.datasets.aaf import list_aaf
from halnet.datasets.csv_source import CsvColumns
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.preparing import prepare
from halnet.datasets.split import read_split
from halnet.datasets.utkface import list_utkface
from halnet.errors import ConfigError, DatasetError
from halnet.faces.alignment import MARGIN, align
from halnet.faces.detected import DetectedFace
from halnet.faces.yunet import FaceDetector
from halnet.files import locked
from halnet.photos.images import load_image

N_GOOD = 24

# The command halnet, which here reports its progress after each photo.
EAGER = """
from halnet.commands import main, output

output.REPORT_SECONDS = -1
main()
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder in the form of All-Age-Faces: the portrait in 24 sizes, and five bad files."""
    root = tmp_path_factory.mktemp("source")
    photos, points = root / "original images", root / "key points"
    photos.mkdir()
    points.mkdir()
    image = portrait()[0][20:260, 100:340]
    for i in range(N_GOOD):
        size = 200 + 10 * i
        resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(photos / f"{i + 1:05d}A{20 + i}.jpg"), resized[:, :, ::-1])
    (photos / "00101A30.jpg").write_bytes(b"")
    (photos / "00102A30.jpg").write_bytes((photos / "00001A20.jpg").read_bytes()[:3000])
    (photos / "00103A30.jpg").write_text("no photo")
    cv2.imwrite(str(photos / "00104A30.jpg"), np.full((200, 200, 3), 99, np.uint8))
    # The landmarks belong to another face than the one in the photo.
    (photos / "00105A30.jpg").write_bytes((photos / "00001A20.jpg").read_bytes())
    np.savetxt(points / "00105A30.txt", np.random.default_rng(0).uniform(0, 30, (49, 2)))
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_good_photos_are_indexed_and_bad_ones_are_rejected(
    source: Path, yunet: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    calls: list[tuple[int, int]] = []
    summary = prepare(
        source, out, workers=1, detector=yunet, on_progress=lambda *c: calls.append(c)
    )
    assert (summary.photos, summary.indexed, summary.rejected) == (29, N_GOOD, 5)
    assert calls[0] == (0, 29)
    assert calls[-1] == (29, 29)
    with open(out / "rejects.csv", newline="") as file:
        rejects = {row["source"][-12:]: row["reject"] for row in csv.DictReader(file)}
    assert rejects == {
        "00101A30.jpg": "the file is empty",
        "00102A30.jpg": "the image data is damaged or cut off",
        "00103A30.jpg": "not a JPEG, PNG, WebP or BMP image, or its header is damaged",
        "00104A30.jpg": "no face found",
        "00105A30.jpg": "no detected face is the annotated one",
    }
    index = (out / "index.csv").read_text().splitlines()
    assert index[0] == (
        "source,age_low,age_high,sex,person,split,score,faces,landmark_error,width,height,"
        "eye_distance,landmarks,hash"
    )
    assert index[4].startswith("original images/00004A23.jpg,23,23,female,,")
    assert summary.reasons == dict.fromkeys(rejects.values(), 1)
    assert json.loads((out / "prepared.json").read_text()) == asdict(summary)
    data = PreparedDataset(out)
    assert len(data.records) == N_GOOD
    assert data.records[3].age == 23
    assert data.records[3].sex == "female"
    # The crop is exactly the one that prediction makes.
    image = load_image(source / data.records[3].source)
    expected = align(image, FaceDetector(yunet)(image)[0].landmarks, MARGIN)
    np.testing.assert_array_equal(data.crop(data.records[3]), expected)


@pytest.fixture(scope="module")
def utkface_sample(utkface: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every 400th photo of UTKFace, two copies, one of them with another age, and a text file."""
    root = tmp_path_factory.mktemp("utkface")
    photos = sorted(path for path in utkface.glob("*.jpg") if path.name.count("_") == 3)
    for path in photos[::400]:
        (root / path.name).symlink_to(path)
    for path, years in ((photos[4000], 0), (photos[8000], 20)):
        age = int(path.name.split("_")[0]) + years
        (root / f"{age}_0_0_20990101000000000.jpg.chip.jpg").symlink_to(path)
    (root / "notes.txt").write_text("no photo")
    return root


def test_a_csv_file_of_the_same_photos_gives_the_same_index(
    utkface_sample: Path, yunet: Path, tmp_path: Path
) -> None:
    expected = prepare(utkface_sample, tmp_path / "one", "utkface", workers=1, detector=yunet)
    assert expected.shares == "80/10/10"
    assert (expected.twins, expected.twins_rejected) == (2, 2)
    lines = ["\ufefffile;race;years;gender\r\n"]
    for photo in list_utkface(utkface_sample).photos:
        race = dict(photo.groups)["race"]
        lines.append(f"{photo.source};{race};{photo.age_low}.0;{photo.sex[0]}\r\n")
    table = utkface_sample / "photos.csv"
    table.write_text("".join(lines), encoding="utf-8", newline="")
    found = prepare(
        table,
        tmp_path / "two",
        "csv",
        name="utkface",
        shares="80/10/10",
        columns=CsvColumns(path="file", age="years", sex="gender"),
        workers=2,
        detector=yunet,
    )
    table.unlink()
    for name in ("index.csv", "dataset_split_stratified.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert found.indexed == expected.indexed > 30
    assert found.rejected == expected.rejected - 1, "notes.txt is not in the table"
    assert expected.reasons["the name is not AGE_SEX_RACE_DATE.jpg.chip.jpg"] == 1


def test_photos_are_added_and_none_moves(utkface_sample: Path, yunet: Path, tmp_path: Path) -> None:
    """A table of some photos is prepared, then of more photos, then of the first ones again."""
    photos = list_utkface(utkface_sample).photos
    table, out = utkface_sample / "photos.csv", tmp_path / "out"

    def run(step: int) -> dict[str, str]:
        rows = [f"{photo.source},30\n" for photo in photos[::step]]
        table.write_text("path,age\n" + "".join(rows))
        prepare(table, out, "csv", shares="50/25/25", workers=1, detector=yunet)
        return {record.source: record.split for record in PreparedDataset(out).records}

    first = run(2)
    more = run(1)
    assert len(more) > len(first) >= 20
    assert {source: more[source] for source in first} == first
    for count in Counter(more.values()).values():
        assert count >= len(more) // 4 - 2
    assert run(2) == first
    table.unlink()
    assert read_split(out / "dataset_split_stratified.json").parts() == more


def test_a_table_of_rejects_is_one_error(source: Path, yunet: Path, tmp_path: Path) -> None:
    table = source / "photos.csv"
    table.write_text("path,age\na.jpg,30\nb.jpg,30\n00001A20.jpg,x\n")
    with pytest.raises(
        DatasetError,
        match="found 0, and 3 rejected photos, 2 of them with the reason: the file does not exist",
    ):
        prepare(table, tmp_path / "out", "csv", workers=1, detector=yunet)
    table.unlink()


def test_a_folder_of_an_older_version_is_complete(
    source: Path, yunet: Path, tmp_path: Path
) -> None:
    """The values that an older version did not write may be missing."""
    out = tmp_path / "out"
    prepare(source, out, workers=1, detector=yunet)
    path = out / "prepared.json"
    old = ("dataset", "photos", "indexed", "rejected", "several_faces", "landmark_error", "split")
    old += ("split_sha256", "seed", "listing_sha256", "input_fingerprint")
    values = {key: value for key, value in json.loads(path.read_text()).items() if key in old}
    path.write_text(json.dumps(values))
    assert prepare(source, out, detector=tmp_path / "not needed").indexed == N_GOOD
    with pytest.raises(ConfigError, match="expected .* with shares 80/10/10, found shares 90/5/5"):
        prepare(source, out, shares="80/10/10", detector=yunet)
    with pytest.raises(ConfigError, match="expected .* with name faces, found name aaf"):
        prepare(source, out, name="faces", detector=yunet)


def test_names_of_columns_need_a_csv_file(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected csv, because names of columns are given"):
        prepare(source, tmp_path, columns=CsvColumns(age="years"))


def test_workers_and_interruptions_do_not_change_the_result(
    source: Path, yunet: Path, tmp_path: Path
) -> None:
    prepare(source, tmp_path / "one", workers=1, detector=yunet)
    prepare(source, tmp_path / "two", workers=2, detector=yunet)

    def interrupt(done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    out = tmp_path / "three"
    with pytest.raises(KeyboardInterrupt):
        prepare(source, out, workers=1, detector=yunet, on_progress=interrupt)
    with pytest.raises(DatasetError, match="if it was interrupted"):
        PreparedDataset(out)
    journal = out / "progress.jsonl"
    journal.write_text(journal.read_text()[:-20])  # the last line is cut off
    calls: list[int] = []
    prepare(source, out, workers=1, detector=yunet, on_progress=lambda d, t: calls.append(d))
    assert calls[0] == 9, "nine photos are not processed again"
    expected = files(tmp_path / "one")
    assert len(expected) == N_GOOD + 4
    assert files(tmp_path / "two") == expected
    assert files(out) == expected


def test_a_second_run_does_nothing(source: Path, yunet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = prepare(source, out, workers=1, detector=yunet)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = prepare(source, out, workers=1, detector=tmp_path / "not needed")
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    with pytest.raises(ConfigError, match="was prepared with seed 1, found seed 0; name another"):
        prepare(source, out, seed=1, detector=yunet)


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ("imdb", ConfigError, "dataset: expected one of aaf, utkface, .*, found imdb"),
        ("aaf", DatasetError, "expected the All-Age-Faces folder"),
    ],
)
def test_an_unknown_dataset_or_a_wrong_folder_writes_nothing(
    dataset: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        prepare(tmp_path, tmp_path / "out", dataset, detector=tmp_path / "not needed")
    assert not (tmp_path / "out").exists()


def test_the_faces_of_real_photos_are_found(aaf_sample: Path, aaf_prepared: Path) -> None:
    """All faces are found, with landmarks near those of the dataset."""
    summary = json.loads((aaf_prepared / "prepared.json").read_text())
    assert summary["indexed"] == summary["photos"] == 61
    assert 0.04 < summary["landmark_error"] < 0.12
    data = PreparedDataset(aaf_prepared)
    differences = []
    for record, photo in zip(data.records[::6], list_aaf(aaf_sample).photos[::6], strict=True):
        assert record.source == photo.source
        assert photo.read_landmarks is not None
        image = load_image(aaf_sample / photo.source)
        crop = align(image, photo.read_landmarks().astype(np.float32), MARGIN)
        differences.append(np.abs(crop.astype(int) - data.crop(record)).mean())
    assert np.median(differences) < 25


def test_a_full_disk_leaves_no_half_written_crop(
    source: Path, yunet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_bytes
    written = []

    def full(self: Path, data: bytes) -> int:
        if len(written) == 5:
            real(self, data[:100])
            raise OSError(28, "No space left on device")
        written.append(self)
        return real(self, data)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            prepare(source, out, workers=1, detector=yunet)
    crops = [path.name for path in (out / "crops").rglob("*") if path.is_file()]
    assert len(crops) == 5
    assert not [name for name in crops if name.startswith(".")]
    prepare(source, out, workers=1, detector=yunet)
    prepare(source, tmp_path / "whole", workers=1, detector=yunet)
    assert files(out) == files(tmp_path / "whole")


def test_ctrl_c_stops_the_command_which_then_continues(
    source: Path, yunet: Path, tmp_path: Path
) -> None:
    """The command with two workers gets the real signal, and is then repeated."""
    big = tmp_path / "big"
    (big / "original images").mkdir(parents=True)
    data = (source / "original images" / "00005A24.jpg").read_bytes()
    for i in range(160):
        (big / "original images" / f"{i:05d}A{20 + i % 40}.jpg").write_bytes(data)
    out = tmp_path / "out"
    command = [sys.executable, "-c", EAGER, "prepare", big, "--out", out, "--detector", yunet]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # Children of a shell in the background would ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,  # noqa: PLW1509
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line == "photos: 20 of 160\n":
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "halnet: interrupted"
    assert "Traceback" not in err
    done = len((out / "progress.jsonl").read_text().splitlines()) - 1
    assert 20 <= done < 160
    assert not list(out.rglob(".*"))
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["indexed"] == 160


def test_a_run_without_yunet(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on machines without YuNet: a fake detector finds a face in the middle."""

    class Middle(FaceDetector):
        def __init__(self, model: object, threads: int) -> None:
            pass

        def __call__(self, image: np.ndarray) -> tuple[DetectedFace, ...]:
            if np.ptp(image) == 0:
                return ()
            size = image.shape[0]
            landmarks = np.float32([[80, 90], [140, 90], [110, 120], [90, 160], [130, 160]])
            return (DetectedFace((0, 0, size, size), landmarks * size / 224, 0.9),)

    monkeypatch.setattr("halnet.datasets.cropping.FaceDetector", Middle)
    monkeypatch.setattr("halnet.datasets.preparing.yunet_path", lambda model: model)

    def interrupt(done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    summary = prepare(source, tmp_path / "one", workers=1)
    assert (summary.indexed, summary.rejected) == (N_GOOD, 5)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "two", workers=1, on_progress=interrupt)
    prepare(source, tmp_path / "two", workers=1)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_two_preparations_of_one_folder_do_not_mix(
    source: Path, yunet: Path, tmp_path: Path
) -> None:
    with locked(tmp_path / "out", "preparation"):
        with pytest.raises(ConfigError, match="another preparation into this folder is under way"):
            prepare(source, tmp_path / "out", workers=1, detector=yunet)
        assert list((tmp_path / "out").iterdir()) == []
