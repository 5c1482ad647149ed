"""`halnet predict`: what it prints and writes for photos, lists, standard input and videos."""

import csv
import io
import json
import math
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.batches import PhotoResult
from halnet.photos.images import load_image
from halnet.videos.live_video import LiveVideo
from halnet.videos.video import Frame, Video, display_name

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


@pytest.mark.parametrize(
    "text",
    [
        b"lat\xe9.jpg\na.jpg\n",
        b"\xef\xbb\xbflat\xe9.jpg\r\n\r\na.jpg",  # of an editor on Windows
        b"lat\xe9.jpg\0a.jpg\0",  # of find -print0
    ],
)
def test_a_list_may_hold_names_of_any_bytes(text: bytes, halnet: Halnet, capsys: Capture) -> None:
    name = os.fsdecode(b"lat\xe9.jpg")
    Path(name).write_bytes(PORTRAIT)
    Path("list.txt").write_bytes(text)
    assert halnet("predict", "--from", "list.txt", "--json") == 0
    assert [entry["photo"] for entry in json.loads(capsys.readouterr().out)] == [name, "a.jpg"]


def test_names_are_printed_with_their_bytes(
    halnet: Halnet, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A terminal in UTF-8 refuses other bytes, unless it is told to take them."""
    good, bad = (os.fsdecode(name) for name in (b"lat\xe9.jpg", b"lat\xe8.jpg"))
    Path(good).write_bytes(PORTRAIT)
    assert halnet("predict", good, bad) == 1
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"lat\xe9.jpg: ")
    assert b"halnet: lat\xe8.jpg: cannot be read: No such file" in err


def test_one_bad_name_of_a_list_does_not_lose_the_others(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    Path("bare").mkdir()
    Path("list.txt").write_text(f"IMG [1].jpg\n-\nbare\n{'n' * 300}\nmissing.jpg\na.jpg\n")
    assert halnet("predict", "--from", "list.txt", "--json") == 1
    entries = {entry["photo"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert len(entries) == 6
    assert [name for name, entry in entries.items() if "error" not in entry] == ["a.jpg"]
    assert len(entries["a.jpg"]["faces"]) == 1


def test_a_closed_standard_input_is_one_line(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert halnet("predict", "--from", "-") == 2
    message = "halnet: standard input: it is closed; send something to it, or name files"
    assert capsys.readouterr().err.splitlines() == [message]


def test_what_was_left_out_is_stated_at_the_end(halnet: Halnet, capsys: Capture) -> None:
    Path("new").mkdir()
    for name, data in {"a.jfif": PORTRAIT, "b.tif": b"II*\0", "c.txt": b"", "._a.jpg": b""}.items():
        Path("new", name).write_bytes(data)
    assert halnet("predict", "new") == 1
    out, err = capsys.readouterr()
    assert out.startswith("new/a.jfif: ")
    assert err.splitlines()[-1].startswith("halnet: left out of new: ")
    assert "TIFF or camera raw photos: 1 (save them as JPEG)" in err
    assert halnet("predict", "new", "--json", "--csv", "ages.csv") == 1
    first, last = json.loads(capsys.readouterr().out)
    assert len(first["faces"]) == 1
    assert last == {
        **{"format": 2, "photo": "new", "faces": []},
        "left_out": {
            "TIFF or camera raw photos": 1,
            "files that macOS adds": 1,
            "other files": 1,
        },
    }
    assert [row["photo"] for row in rows("ages.csv")] == ["new/a.jfif"]
    Path("new/b.tif").unlink()
    assert halnet("predict", "new") == 0


@pytest.mark.parametrize("end", [KeyboardInterrupt, signal.SIGTERM, OSError(28, "disk full")])
@pytest.mark.parametrize("done", [0, 2])
def test_the_json_list_is_closed_at_any_end(
    end: object, done: int, halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(*args: object) -> Iterator[PhotoResult]:
        yield from (PhotoResult(f"{index}.jpg", []) for index in range(done))
        if isinstance(end, signal.Signals):
            signal.raise_signal(end)
        else:
            raise end

    monkeypatch.setattr("halnet.prediction_run.predict_photos", predict)
    before = signal.getsignal(signal.SIGTERM)
    assert halnet("predict", "a.jpg", "--json") == (2 if isinstance(end, OSError) else 130)
    entries = json.loads(capsys.readouterr().out)
    assert [entry["photo"] for entry in entries] == ["0.jpg", "1.jpg"][:done]
    assert signal.getsignal(signal.SIGTERM) is before


def test_results_can_be_sent_to_standard_output(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("predict", "a.jpg", "wall.png", "--csv", "-") == 1
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["photo"] for row in found] == ["a.jpg", "wall.png"]
    assert not Path("-").exists()
    assert halnet("predict", "a.jpg", "--jsonl", "/dev/stdout") == 0
    assert json.loads(capsys.readouterr().out)["photo"] == "a.jpg"
    assert halnet("predict", "a.jpg", "--jsonl", "/dev/stdout", "--resume") == 2
    assert "leave out --resume, or name a file" in capsys.readouterr().err


def test_each_face_becomes_a_row_and_an_object(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("predict", ".", "--csv", "out/ages.csv", "--jsonl", "ages.jsonl") == 1
    out, err = capsys.readouterr()
    assert not out
    assert "photos: 6 of 6" in err
    counts = "3 not read, 1 without a face"
    assert f"halnet: photos without an age: {counts}; the result file names them" in err
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


def test_probabilities_of_ages_are_in_every_output(halnet: Halnet, capsys: Capture) -> None:
    ages = ("--at-least", "35", "--at-least", "18", "--at-least", "35")
    assert halnet("predict", "a.jpg", "wall.png", *ages) == 1
    line, none = capsys.readouterr().out.splitlines()
    found = re.fullmatch(
        r"a\.jpg: .* to [\d.]+, 18 or older: 9\d %, 35 or older: (\d+) %, box .*", line
    )
    assert found
    assert none == "wall.png: no face found"
    assert halnet("predict", "a.jpg", "wall.png", *ages, "--json") == 1
    (face,), nothing = (entry["faces"] for entry in json.loads(capsys.readouterr().out))
    assert list(face["at_least"]) == ["18", "35"]
    assert nothing == []
    assert 0.9 < face["at_least"]["18"] < 0.98
    assert face["at_least"]["35"] == pytest.approx(int(found[1]) / 100, abs=0.0051)
    assert 0.2 < face["at_least"]["35"] < 0.8
    files = ("--csv", "ages.csv", "--jsonl", "ages.jsonl")
    assert halnet("predict", "a.jpg", "wall.png", *ages, *files) == 1
    row, bare = rows("ages.csv")
    assert {key: float(row[f"at_least_{key}"]) for key in ("18", "35")} == face["at_least"]
    assert (bare["at_least_18"], bare["at_least_35"]) == ("", "")
    entries = [json.loads(text) for text in Path("ages.jsonl").read_text().splitlines()]
    assert entries[0]["faces"][0]["at_least"] == face["at_least"]
    assert halnet("predict", "a.jpg", "--json") == 0
    assert "at_least" not in capsys.readouterr().out


def test_quality_numbers_are_in_every_output_of_a_program(halnet: Halnet, capsys: Capture) -> None:
    assert halnet("predict", "a.jpg", "wall.png", "--quality", "--json") == 1
    (face,), nothing = (entry["faces"] for entry in json.loads(capsys.readouterr().out))
    assert nothing == []
    (left, right), quality = face["landmarks"][:2], face["quality"]
    assert quality["eye_distance"] == pytest.approx(math.dist(left, right), abs=0.2)
    assert quality["score"] == face["score"]
    assert quality["inside"] == 1
    assert 40 < quality["brightness"] < 220
    files = ("--csv", "ages.csv", "--jsonl", "ages.jsonl")
    assert halnet("predict", "a.jpg", "wall.png", "--quality", *files) == 1
    row, bare = rows("ages.csv")
    assert {name: float(row[f"quality_{name}"]) for name in quality} == quality
    assert {bare[f"quality_{name}"] for name in quality} == {""}
    entries = [json.loads(text) for text in Path("ages.jsonl").read_text().splitlines()]
    assert entries[0]["faces"][0]["quality"] == quality
    again = ("a.jpg", "--resume", *files)
    assert halnet("predict", *again) == 2
    assert "expected results without quality numbers" in capsys.readouterr().err
    assert halnet("predict", "a.jpg", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["faces"][0]["quality"] is None


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (["18"], [], "expected no probabilities, found probabilities of the ages 18 or more"),
        ([], ["21"], "expected probabilities of the ages 21 or more, found no probabilities; repe"),
        (["18"], ["18", "9"], "of the ages 9, 18 or more, found probabilities of the ages 18 or m"),
    ],
)
def test_a_file_with_other_probabilities_is_not_continued(
    kind: str, before: list[str], after: list[str], message: str, halnet: Halnet, capsys: Capture
) -> None:
    def at_least(ages: list[str]) -> list[str]:
        return [text for age in ages for text in ("--at-least", age)]

    name = f"ages.{kind}"
    assert halnet("predict", "a.jpg", f"--{kind}", name, *at_least(before)) == 0
    text = Path(name).read_text()
    photos = ("a.jpg", "deep/b.JPG", "--resume", f"--{kind}", name)
    assert halnet("predict", *photos, *at_least(after)) == 2
    assert f"{name}: expected" in (err := capsys.readouterr().err)
    assert message in err
    assert Path(name).read_text() == text
    assert halnet("predict", *photos, *at_least(before)) == 0
    assert Path(name).read_text().startswith(text)
    assert Path(name).read_text().count("a.jpg") == 1


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
        ("--at-least", "-1", "'--at-least': -1 is not in the range 0<=x<=100."),
        ("--at-least", "101", "'--at-least': 101 is not in the range 0<=x<=100."),
        ("--at-least", "18.5", "'--at-least': '18.5' is not a valid integer range."),
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
    assert copy.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
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


def test_a_video_that_is_cut_off_keeps_its_frames_and_is_listed(
    film: Path, halnet: Halnet, capsys: Capture
) -> None:
    data = film.read_bytes()
    film.write_bytes(data[: len(data) * 6 // 10])
    assert halnet("predict", "film.avi", "a.jpg") == 1
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "a.jpg",
        *("film.avi, 0.00 s", "film.avi, 0.10 s", "film.avi, 0.20 s", "film.avi, 0.30 s"),
    ]
    assert "halnet: film.avi: the video is damaged or cut off; 4 frames could be read" in err


def test_videos_and_folders_may_have_any_name(
    film: Path, halnet: Halnet, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    names = [os.fsdecode(b"lat\xe9.avi"), "2024-05-01T10:15:00.avi", "film"]
    for name in names:
        Path(name).write_bytes(film.read_bytes())
    drawn = os.fsdecode(b"out\xe9")
    assert halnet("predict", *names, "--every", "1", "--json", "--draw", drawn) == 0
    assert [entry["photo"] for entry in json.loads(capsysbinary.readouterr().out)] == names
    assert sorted(os.listdir(drawn)) == sorted(f"{name}.mp4" for name in names)


def test_a_live_source_prints_no_line_for_each_frame_and_is_resumed(
    halnet: Halnet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream(LiveVideo):
        def __init__(self, source: str, every: float) -> None:
            Video.__init__(self, display_name(source))

        def __iter__(self) -> Iterator[Frame]:
            yield from (Frame(load_image(PORTRAIT), index / 10) for index in range(2))

        def close(self) -> None:
            pass

    monkeypatch.setattr("halnet.prediction_run.open_video", Stream)
    sources = [f"http://me:secret@host/{name}?key=2" for name in "ab"]
    assert halnet("predict", *sources, "--jsonl", "live.jsonl") == 0
    _, *lines = capsys.readouterr().err.splitlines()
    assert lines == ["frames of http://host/a: 2", "frames of http://host/b: 2"]
    before = Path("live.jsonl").read_text()
    assert [json.loads(line)["photo"] for line in before.splitlines()] == [
        *["http://host/a"] * 2,
        *["http://host/b"] * 2,
    ]
    assert halnet("predict", *sources, "--jsonl", "live.jsonl", "--resume") == 0
    assert "frames of http://host/a" not in capsys.readouterr().err
    assert Path("live.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["88"], "camera:88: cannot be opened"),
        (["88", "--draw", "x"], "camera:88: a copy can be drawn of photos and video files, but"),
        (["film.avi", "deep/film.avi", "--draw", "x"], "would overwrite another video"),
        (["a.jpg", "--draw", "."], "would overwrite another photo"),
        (["*.gif"], "*.gif: no photos match this pattern"),
        (["a.jpg", "--json", "--csv", "-"], "--json prints to standard output; name a file"),
        (["a.jpg", "--quality"], "--quality adds numbers to --json, --csv and --jsonl; name one"),
        (["--from", "none.txt"], "File 'none.txt' does not exist."),
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
