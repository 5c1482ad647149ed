"""`halnet check`: its outcomes and exit statuses, photos and videos, and wrong use."""

import io
import json
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled, sha256_file
from halnet.checks import check as checks
from halnet.checks.reasons import Finding
from halnet.photos.images import load_image
from halnet.results import Face

Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]
PORTRAIT = bundled("portrait.jpg").read_bytes()

pytestmark = pytest.mark.usefixtures("stored_face", "photos", "no_findings")


@pytest.fixture
def no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find nothing wrong with a face: the limits of the findings have tests of their own."""
    monkeypatch.setattr(checks, "find_reasons", lambda quality, face: ())


AGES = r"(2[0-9]\.\d\d) years, 90% interval (1\d\.\d) to (4\d\.\d)"  # of the portrait
SHORT = (
    r"The predicted age of 2\d\.\d\d years does not reach the challenge age of {}\. "
    r"Verify the age in another way\."
)
# the portrait looks younger than 40, and older than 18
REFERRED = rf"\. The person is probably {{}} or older, but this is not certain\. {SHORT}"


@pytest.mark.parametrize(
    ("args", "status", "line"),
    [
        (["a.jpg"], 0, rf"pass: {AGES}, 18 or older: 9\d %, challenge age 25"),
        (["a.jpg", "--challenge", "28"], 0, f"pass: {AGES}, 18 or .*, challenge age 28"),
        (["a.jpg", "--challenge", "40"], 1, f"refer: {AGES}.* age 40{REFERRED.format(18, 40)}"),
        (["a.jpg", "--legal", "45"], 1, rf"refer: {AGES}, 45 .* age 52\. {SHORT.format(52)}"),
        (["wall.png"], 3, r"no result: No face was found\."),
        (
            ["wall.png", "a.jpg"],
            0,
            rf"pass: {AGES}, 18 .*, challenge age 25\. 1 of 2 photos were used \(no face: 1\)\.",
        ),
        (
            ["a.jpg", "deep/b.JPG", "--challenge", "40"],
            1,
            rf"refer: {AGES}.* age 40{REFERRED.format(18, 40)} 2 of 2 photos were used\.",
        ),
        (["wall.png", "wall.png"], 3, r"no result: None of 2 photos can be used \(no face: 2\)\."),
    ],
)
def test_the_outcome_is_one_line_and_the_exit_status(
    args: list[str], status: int, line: str, halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("check", *args) == status
    assert re.fullmatch(f"{line}\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["cut.jpg", "empty.jpg", "text.png", "missing.jpg", "deep"])
def test_a_photo_that_cannot_be_read(name: str, halnet: Halnet, capsys: Capture) -> None:
    assert halnet("check", "a.jpg", name, "--json") == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(f"halnet: {name}: ")
    assert err.count("\n") == 1
    assert ("found a folder" in err) == (name == "deep")


def test_a_face_that_cannot_be_judged_has_no_result(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (Finding("too small", 12.0, 24.0),)
    monkeypatch.setattr(checks, "find_reasons", lambda quality, face: found)
    assert halnet("check", "a.jpg") == 3
    assert capsys.readouterr().out == f"no result: {checks.SENTENCES['too small']}\n"
    assert halnet("check", "a.jpg", "--json") == 3
    record = json.loads(capsys.readouterr().out)
    assert record["findings"] == [{"name": "too small", "value": 12.0, "limit": 24.0}]
    assert (record["outcome"], record["age"]) == ("no_result", None)


def test_the_record_is_json(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("predict", "a.jpg", "--json") == 0
    ((entry,), model) = json.loads(capsys.readouterr().out), bundled("halnet.safetensors")
    assert halnet("check", "a.jpg", "--json", "--runtime", "onnxruntime", "--max-risk", "0.1") == 0
    record = json.loads(capsys.readouterr().out)
    (face,) = entry["faces"]
    assert record["outcome"] == "pass"
    assert [record[key] for key in ("age", "interval", "level")] == [
        face[key] for key in ("age", "interval", "level")
    ]
    assert record["model"] == {
        **{"name": "halnet.onnx", "checkpoint_sha256": sha256_file(model)},
        **{"precision": "fp32", "runtime": "onnxruntime"},
    }
    policy = record["policy"]
    assert policy["max_risk"] == 0.1
    assert policy["challenge"] == policy["risk"]["challenge"] > 18
    assert policy["risk"]["estimate"] < policy["risk"]["bound"] <= 0.1


def test_the_frames_of_a_video_are_of_one_person(halnet: Halnet, capsys: Capture) -> None:
    writer = cv2.VideoWriter("film.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (512, 512))
    face = cv2.cvtColor(load_image(PORTRAIT), cv2.COLOR_RGB2BGR)
    for index in range(6):
        writer.write(np.full_like(face, 128) if index == 2 else face)
    writer.release()
    assert halnet("check", "film.avi") == 0
    assert capsys.readouterr().out.endswith(". 5 of 6 photos were used (no face: 1).\n")
    assert halnet("check", "film.avi", "a.jpg", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["photos"], record["unused"]) == (6, {"no face": 1})
    assert 25 < record["age"] < 35
    assert halnet("check", "film.avi", "--every", "0.2", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["photos"], record["unused"]) == (2, {"no face": 1})
    assert halnet("check", "film.avi", "film.avi", "--json") == 0  # two videos of one person
    record = json.loads(capsys.readouterr().out)
    assert (record["photos"], record["unused"]) == (10, {"no face": 2})


def test_a_photo_comes_from_standard_input(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(PORTRAIT)))
    assert halnet("check", "-") == 0
    assert re.match(f"pass: {AGES}", capsys.readouterr().out)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"no photo")))
    assert halnet("check", "-") == 2
    assert capsys.readouterr().err.startswith("halnet: standard input: not a JPEG")


def test_standard_input_and_files_are_of_one_person(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(PORTRAIT)))
    assert halnet("check", "wall.png", "-", "a.jpg") == 0
    assert ". 2 of 3 photos were used (no face: 1).\n" in capsys.readouterr().out


def test_small_faces_can_be_left_out(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("check", "a.jpg", "--min-face", "500") == 3
    assert capsys.readouterr().out == "no result: No face was found.\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "Missing argument 'PHOTOS...'"),
        (["a.jpg", "--legal", "0"], "halnet: legal age 0: expected 1 to 100 years"),
        (["a.jpg", "--legal", "200"], "halnet: legal age 200: expected 1 to 100 years"),
        (["a.jpg", "--challenge", "17"], "halnet: challenge age 17: expected 18, which is the "),
        (["a.jpg", "--max-risk", "0"], "halnet: largest risk 0.0: expected a share above 0"),
        (["a.jpg", "--max-risk", "2"], "halnet: largest risk 2.0: expected a share above 0"),
        (["a.jpg", "--max-risk", "nan"], "halnet: largest risk nan: expected a share above 0"),
        (["a.jpg", "--max-risk", "0.001"], "halnet: largest risk 0.001: the "),
        (["a.jpg", "--max-risk", "0.05", "--legal", "21"], "legal age 21: expected 9 to 18 years"),
        (["a.jpg", "--max-risk", "0.05", "--challenge", "25"], "expected one of them, found both"),
        (["a.jpg", "--max-risk", "0.05", "--model", "x.fake"], "states no errors of minors"),
        (["0"], "halnet: camera:0: a check takes photos and video files, found a live source"),
        (["rtsp://me:pw@host/a"], "halnet: rtsp://host/a: a check takes photos and video files"),
        (["none.mp4"], "halnet: none.mp4: "),
        (["-", "a.jpg", "-"], 'halnet: "-": expected one photo from standard input, found that it'),
        (["a.jpg", "--model", "none.onnx"], "none.onnx: no such model file"),
        (["a.jpg", "--every", "-1"], "-1.0 is not in the range x>=0"),
    ],
)
def test_wrong_use(args: list[str], message: str, halnet: Halnet, capsys: Capture) -> None:
    assert halnet("check", *args) == 2
    out, err = capsys.readouterr()
    assert not out
    assert message in err


def test_a_missing_detector(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("check", "a.jpg", "--detector", "none.onnx") == 2
    assert "none.onnx: the YuNet model cannot be read" in capsys.readouterr().err


def test_the_line_rounds_no_probability_to_certainty(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Face, "probability", lambda face, at_least: 0.9999)
    assert halnet("check", "a.jpg") == 0
    assert "18 or older: above 99 %, challenge age 25\n" in capsys.readouterr().out
