"""`halnet predict`: what it prints and writes for photos, lists, standard input and videos."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.images import load_image

PORTRAIT = bundled("portrait.jpg").read_bytes()
Halnet = Callable[..., int]
Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.usefixtures("stored_face", "photos")


@pytest.fixture
def film(photos: Path) -> Path:
    """Six frames, ten per second: the portrait, and a wall as the third frame."""
    path = photos / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (512, 512))
    face = cv2.cvtColor(load_image(PORTRAIT), cv2.COLOR_RGB2BGR)
    for index in range(6):
        writer.write(np.full_like(face, 128) if index == 2 else face)
    writer.release()
    return path


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_the_faces_of_a_folder_are_printed(halnet: Halnet, photos: Path, capsys: Capture) -> None:
    assert halnet("predict", photos) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"{photos}/a.jpg",
        f"{photos}/deep/b.JPG",
        f"{photos}/wall.png",
    ]
    assert "years, 90% interval" in lines[0]
    assert lines[0].split(": ")[1] == lines[1].split(": ")[1]
    assert lines[2].endswith("no face found")
    for name in ("cut.jpg: the image data is damaged", "empty.jpg: the file is empty", "text.png"):
        assert name in err
    assert "notes.txt" not in out + err
    assert err.startswith("halnet.onnx on onnxruntime ")


def test_json_has_the_interval_at_the_level(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("predict", "a.jpg", "--json", "--level", "0.5", "--draw", "drawn") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    (face,) = entry["faces"]
    assert entry["photo"] == "a.jpg"
    low, high = face["interval"]
    assert low < face["age"] < high
    assert face["level"] == 0.5
    drawn, plain = load_image(Path("drawn/a.jpg")), load_image(Path("a.jpg"))
    assert drawn.shape == plain.shape
    x, y, width, height = (round(v) for v in face["box"])
    edge = drawn[y + height // 2, x].astype(int)
    assert edge[0] > 200
    assert edge[2] < 130  # amber, through JPEG
    centre = slice(y + 30, y + height - 30), slice(x + 20, x + width - 20)
    assert np.abs(drawn[centre].astype(int) - plain[centre]).mean() < 4


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["a.jpg"], 0),
        (["wall.png"], 1),
        (["cut.jpg"], 2),
        (["missing.jpg"], 2),
        (["a.jpg", "missing.jpg"], 1),
        (["none.mp4"], 2),
        (["none.mp4", "a.jpg"], 1),
    ],
)
def test_the_exit_status(names: list[str], status: int, halnet: Halnet) -> None:
    assert halnet("predict", *names) == status


def test_names_come_from_patterns_lists_and_standard_input(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(*args: object) -> list[str]:
        assert halnet("predict", *args, "--json") == 0
        return [entry["photo"] for entry in json.loads(capsys.readouterr().out)]

    class Stdin:
        buffer = io.BytesIO(PORTRAIT)

    monkeypatch.setattr("sys.stdin", Stdin)
    Path("list.txt").write_text("a.jpg\n\ndeep/b.JPG\n")
    assert names("[a]*.jpg", "**/b.*") == ["a.jpg", "deep/b.JPG"]
    assert names("--from", "list.txt", "deep") == ["deep/b.JPG", "a.jpg", "deep/b.JPG"]
    assert names("-") == ["-"]


def test_each_face_becomes_a_row_and_an_object(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("predict", ".", "--csv", "out/ages.csv", "--jsonl", "ages.jsonl") == 1
    out, err = capsys.readouterr()
    assert not out
    assert "photos: 6 of 6" in err
    found = rows("out/ages.csv")
    assert [(r["photo"], r["face"], r["error"]) for r in found] == [
        ("a.jpg", "1", ""),
        ("cut.jpg", "", "cut.jpg: the image data is damaged or cut off"),
        ("deep/b.JPG", "1", ""),
        ("empty.jpg", "", "empty.jpg: the file is empty"),
        ("text.png", "", found[4]["error"]),
        ("wall.png", "", "no face found"),
    ]
    assert found[4]["error"].startswith("text.png: not a JPEG, PNG, WebP or BMP ")
    entries = [json.loads(line) for line in Path("ages.jsonl").read_text().splitlines()]
    assert [entry["photo"] for entry in entries] == [r["photo"] for r in found]
    (face,) = entries[0]["faces"]
    first = found[0]
    assert float(first["age"]) == face["age"]
    assert [float(first["low"]), float(first["high"])] == face["interval"]
    assert [float(first[key]) for key in ("x", "y", "width", "height")] == face["box"]
    assert first["model"] == entries[0]["model"]
    assert first["model"].endswith(" fp32")


def test_an_interrupted_run_is_continued(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("predict", ".", "--csv", "ages.csv") == 1
    whole = Path("ages.csv").read_text()
    Path("ages.csv").write_text(whole[: whole.index("text.png") + 3])
    capsys.readouterr()
    assert halnet("predict", ".", "--csv", "ages.csv", "--resume") == 1
    assert "; skipping 3 photos that the files already hold" in capsys.readouterr().err
    assert Path("ages.csv").read_text() == whole


def test_names_that_are_not_utf_8_keep_their_bytes(halnet: Halnet) -> None:
    names = [b"\xff\xfe.jpg", b'a "b", c.jpg', "\N{GREEK SMALL LETTER PHI}.jpg".encode()]
    Path("names").mkdir()
    for name in names:
        (Path("names") / os.fsdecode(name)).write_bytes(PORTRAIT)
    assert halnet("predict", "names", "--csv", "names.csv") == 0
    found = [os.fsencode(row["photo"]) for row in rows("names.csv")]
    assert sorted(found) == sorted(b"names/" + name for name in names)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--csv", "ages.csv"], "ages.csv: exists already; add --resume to continue it"),
        (["--csv", "ages.csv", "--resume", "--level", "0.8"], "with level 0.9; name another file"),
        (["--csv", "other.csv", "--resume"], "expected a file that halnet predict wrote"),
        (["--jsonl", "other.jsonl", "--resume"], "not every line has an object with a photo"),
        (["--resume"], "--resume continues a result file; name it with --csv or --jsonl"),
    ],
)
def test_files_that_cannot_be_continued(
    args: list[str], message: str, halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("predict", "a.jpg", "--csv", "ages.csv") == 0
    before = Path("ages.csv").read_text()
    Path("other.csv").write_text("photo,age\na.jpg,30\n")
    Path("other.jsonl").write_text("{}\n")
    capsys.readouterr()
    assert halnet("predict", "wall.png", *args) == 2
    assert message in capsys.readouterr().err
    assert Path("ages.csv").read_text() == before


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--min-face", "-3", "'--min-face': -3.0 is not in the range x>=0."),
        ("--min-face", "nan", "'--min-face': nan is not a finite number."),
        ("--every", "-1", "'--every': -1.0 is not in the range x>=0."),
        ("--every", "nan", "'--every': nan is not a finite number."),
        ("--seconds", "inf", "'--seconds': inf is not a finite number."),
        ("--level", "nan", "'--level': nan is not a finite number."),
        ("--threads", "0", "'--threads': 0 is not in the range x>=1."),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    option: str, value: str, message: str, halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("predict", "a.jpg", option, value) == 2
    out, err = capsys.readouterr()
    assert not out
    assert f"Error: Invalid value for {message}" in err.splitlines()


@pytest.mark.usefixtures("film")
def test_the_frames_of_a_video_are_written(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("predict", "film.avi", "--csv", "film.csv", "--draw", "drawn") == 0
    assert "frames of film.avi: 6 of 6" in capsys.readouterr().err
    found = rows("film.csv")
    assert [r["time"] for r in found] == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    assert [r["error"] for r in found] == ["", "", "no face found", "", "", ""]
    ages = [float(r["age"]) for r in found if r["age"]]
    assert max(ages) - min(ages) < 4
    copy = cv2.VideoCapture("drawn/film.avi.mp4")
    assert copy.get(cv2.CAP_PROP_FPS) == 10
    assert copy.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    x, y, height = (round(float(found[0][key])) for key in ("x", "y", "height"))
    edge = copy.read()[1][y + height // 2, x - 1 : x + 2].max(axis=0)
    assert (edge[2] > 200, edge[0] < 130) == (True, True)  # amber, blue first
    copy.release()


@pytest.mark.usefixtures("film")
def test_some_frames_of_a_video_are_printed_with_their_times(
    halnet: Halnet, capsys: Capture
) -> None:
    assert halnet("predict", "film.avi", "--every", "0.25") == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "film.avi, 0.00 s",
        "film.avi, 0.30 s",
        "film.avi, 0.50 s",
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["88"], "camera:88: cannot be opened"),
        (["88", "--draw", "x"], "camera:88: a copy can be drawn of photos and video files, but"),
        (["film.avi", "deep/film.avi", "--draw", "x"], "would overwrite another video"),
        (["a.jpg", "--draw", "."], "would overwrite another photo"),
        (["*.gif"], "*.gif: no photos match this pattern"),
        ([], 'name photos, folders or videos, or "-" for standard input'),
    ],
)
def test_sources_that_cannot_be_predicted(
    args: list[str], message: str, halnet: Halnet, capsys: Capture
) -> None:
    before = Path("a.jpg").read_bytes()
    assert halnet("predict", *args) == 2
    assert message in capsys.readouterr().err
    assert Path("a.jpg").read_bytes() == before


def test_options_choose_the_faces(halnet: Halnet, capsys: Capture, yunet: Path) -> None:
    face = load_image(PORTRAIT)
    small = cv2.resize(face, (256, 256), interpolation=cv2.INTER_AREA)
    both = np.full((512, 800, 3), 128, np.uint8)
    both[:, :512] = face
    both[100:356, 530:786] = small
    cv2.imwrite("both.png", both[:, :, ::-1])

    def count(*args: str) -> int:
        assert halnet("predict", "both.png", "--detector", yunet, "--json", *args) == 0
        (entry,) = json.loads(capsys.readouterr().out)
        return len(entry["faces"])

    assert count() == 2
    assert count("--faces", "largest") == 1
    assert count("--min-face", "60") == 1


def test_the_age_on_a_real_photo(aaf: Path, yunet: Path, halnet: Halnet, capsys: Capture) -> None:
    photo = aaf / "original images" / "00001A02.jpg"
    assert halnet("predict", photo, "--detector", yunet, "--json") == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["faces"][0]["age"] < 20
