"""`halnet report`: a report for those who must judge an age check."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import spread

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(make_prepared_folder: Callable[..., Path]) -> Path:
    return make_prepared_folder(200, "first", shares="40/20/40")


def test_a_report_and_a_comparison(
    folder: Path, tmp_path: Path, halnet: Halnet, capsys: Capture
) -> None:
    first, second = tmp_path / "a report", tmp_path / "second"
    args = ("report", "fake", "--runtime", "fake", "--data", folder, "--limit", 60)
    assert halnet(*args, "--out", first) == 0
    assert capsys.readouterr().out == f"{first / 'report.html'}\n"
    values = json.loads((first / "report.json").read_text())
    assert values["comparison"] is None
    assert len(values["photos"]["id"]) == 60
    assert values["subject"]["command"] == (
        f"halnet report fake --data {folder} --split test --limit 60 --runtime fake --device auto "
        f"--out '{first}'"
    )
    assert halnet(*args, "--out", second, "--against", first / "report.json") == 0
    comparison = json.loads((second / "report.json").read_text())["comparison"]
    assert (comparison["is_paired"], comparison["shared_photos"]) == (True, 60)
    assert {row["result"] for row in comparison["changes"]} <= {"no difference shown", "too few"}
    page = (second / "report.html").read_text()
    assert page.index("Compared with the earlier report") < page.index("What was tested")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected an age check report, found another JSON file; name the file report.json"),
        ("text", "expected an age check report, found another file"),
    ],
)
def test_against_another_file(
    folder: Path, tmp_path: Path, halnet: Halnet, capsys: Capture, content: str, message: str
) -> None:
    other = tmp_path / "other.json"
    other.write_text(content)
    args = ("report", "fake", "--runtime", "fake", "--data", folder, "--out", tmp_path / "out")
    assert halnet(*args, "--against", other) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_against_a_report_of_the_benchmark(
    folder: Path, tmp_path: Path, halnet: Halnet, capsys: Capture
) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"kind": "halnet benchmark report", "format": 1}')
    args = ("report", "fake", "--runtime", "fake", "--data", folder, "--out", tmp_path / "out")
    assert halnet(*args, "--against", other) == 2
    assert "found a file of the kind 'halnet benchmark report'" in capsys.readouterr().err


@pytest.mark.usefixtures("stored_face")
def test_original_photos(folder: Path, tmp_path: Path, halnet: Halnet, capsys: Capture) -> None:
    """The portrait stands for all photos but two, which show a wall."""
    photos = tmp_path / "photos"
    photos.mkdir()
    records = spread(PreparedDataset(folder).select("test"), 24)
    portrait = bundled("portrait.jpg").read_bytes()
    wall = cv2.imencode(".jpg", np.full((512, 512, 3), 128, np.uint8))[1].tobytes()
    for i, record in enumerate(records):
        (photos / record.source).write_bytes(wall if i in (3, 20) else portrait)
    out = tmp_path / "out"
    args = ("report", "fake", "--runtime", "fake", "--data", folder, "--limit", 24, "--out", out)
    assert halnet(*args, "--photos", photos) == 0
    values = json.loads((out / "report.json").read_text())
    assert values["subject"]["from_photos"] is True
    assert f"--photos {photos}" in values["subject"]["command"]
    assert len(values["photos"]["id"]) == 22
    assert len(set(values["photos"]["age"])) == 1, "each photo is the portrait, not the crop"
    rates = {
        row["reason"]: row["refused"]["hits"]
        for row in values["refusals"]["rates"]
        if row["kind"] == "all"
    }
    assert (rates["any reason"], rates["no face"], rates["several faces"]) == (2, 2, 0)
    capsys.readouterr()

    assert halnet(*args, "--photos", photos, "--photos", photos) == 2
    assert "name --photos once for each --data" in capsys.readouterr().err
    assert halnet(*args, "--photos", tmp_path) == 2
    assert "expected the original photos of" in capsys.readouterr().err
    for record in records:
        (photos / record.source).write_bytes(wall)
    assert halnet(*args, "--photos", photos) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "expected photos of faces, found no face in any of 24 photos" in error


def test_a_folder_that_is_not_empty(
    folder: Path, tmp_path: Path, halnet: Halnet, capsys: Capture
) -> None:
    (tmp_path / "letter.txt").touch()
    args = ("report", "fake", "--runtime", "fake", "--data", folder, "--out", tmp_path)
    assert halnet(*args) == 2
    assert "found letter.txt in it; name another folder" in capsys.readouterr().err


def test_wrong_use(tmp_path: Path, halnet: Halnet, capsys: Capture) -> None:
    assert halnet("report", "--out", tmp_path) == 2
    assert "--data" in capsys.readouterr().err
    assert halnet("report", "--data", tmp_path / "no", "--out", tmp_path / "out") == 2
    assert "no" in capsys.readouterr().err
