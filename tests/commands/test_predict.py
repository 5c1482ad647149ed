"""`halnet predict` on patterns, listings, standard input and videos, into files that go on."""

import csv
import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.commands import group, run
from halnet.images import load_image

PORTRAIT = bundled("portrait.jpg").read_bytes()

pytestmark = pytest.mark.usefixtures("stored_face")


def halnet(*args: object) -> int:
    return run(group, [str(arg) for arg in args])


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three portraits, a wall and a damaged photo in a folder that is the current one."""
    root = tmp_path / "photos"
    (root / "deep").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "deep/c.jpg"):
        (root / name).write_bytes(PORTRAIT)
    cv2.imwrite(str(root / "wall.png"), np.full((90, 90, 3), 128, np.uint8))
    (root / "cut.jpg").write_bytes(PORTRAIT[:20000])
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def film(photos: Path) -> Path:
    """Six frames, ten a second: the portrait, but for the third, a wall."""
    path = photos / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (512, 512))
    face = cv2.cvtColor(load_image(PORTRAIT), cv2.COLOR_RGB2BGR)
    for index in range(6):
        writer.write(np.full_like(face, 128) if index == 2 else face)
    writer.release()
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_patterns_listings_and_standard_input(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(*args: object) -> list[str]:
        assert halnet("predict", *args, "--json") == 0
        return [entry["photo"] for entry in json.loads(capsys.readouterr().out)]

    assert names("[ab].jpg") == ["a.jpg", "b.jpg"]
    assert names("**/c.*") == ["deep/c.jpg"]
    Path("[x].jpg").write_bytes(PORTRAIT)
    assert names("[x].jpg") == ["[x].jpg"]  # a file of that name
    Path("list.txt").write_text("a.jpg\n\ndeep/c.jpg\n")
    assert names("--from", "list.txt", "b.jpg") == ["b.jpg", "a.jpg", "deep/c.jpg"]

    class Stdin:
        buffer = io.BytesIO(PORTRAIT)

    monkeypatch.setattr("sys.stdin", Stdin)
    assert names("-") == ["-"]
    assert halnet("predict", "*.gif") == 2
    assert "*.gif: no photos match this pattern" in capsys.readouterr().err
    assert halnet("predict") == 2
    assert "name photos, folders or videos" in capsys.readouterr().err


def test_a_row_a_face(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert halnet("predict", ".", "--csv", "out/ages.csv", "--jsonl", "ages.jsonl") == 1
    out, err = capsys.readouterr()
    assert not out
    assert "photos: 5 of 5" in err
    found = rows(Path("out/ages.csv"))
    assert [(r["photo"], r["face"], r["error"]) for r in found] == [
        ("a.jpg", "1", ""),
        ("b.jpg", "1", ""),
        ("cut.jpg", "", "cut.jpg: the image data is damaged or cut off"),
        ("deep/c.jpg", "1", ""),
        ("wall.png", "", "no face found"),
    ]
    entries = [json.loads(line) for line in Path("ages.jsonl").read_text().splitlines()]
    assert [entry["photo"] for entry in entries] == [r["photo"] for r in found]
    (face,) = entries[0]["faces"]
    first = found[0]
    assert float(first["age"]) == face["age"]
    assert [float(first["low"]), float(first["high"])] == face["interval"]
    assert [float(first[key]) for key in ("x", "y", "width", "height")] == face["box"]
    assert first["model"] == entries[0]["model"]
    assert first["model"].endswith(" fp32")


def test_an_interrupted_run_goes_on(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert halnet("predict", ".", "--csv", "whole.csv", "--jsonl", "whole.jsonl") == 1
    whole = {name: Path(name).read_text() for name in ("whole.csv", "whole.jsonl")}
    for kind in ("csv", "jsonl"):
        text = whole[f"whole.{kind}"]
        # Cut in the header, at a line's end, and in the middle of a line.
        third = text.index("cut.jpg")
        for end in (0, 9, text.index("b.jpg"), third + 3, text.rindex("\n", 0, third) + 1):
            Path(f"part.{kind}").write_text(text[:end])
            assert halnet("predict", ".", f"--{kind}", f"part.{kind}", "--resume") == 1
            assert Path(f"part.{kind}").read_text() == text, (kind, end)
    # One that is whole: the last photo is done again, no other.
    capsys.readouterr()
    assert halnet("predict", ".", "--csv", "whole.csv", "--resume") == 1
    assert "4 done before" in capsys.readouterr().err
    assert Path("whole.csv").read_text() == whole["whole.csv"]
    # Two files, cut in different places
    Path("part.csv").write_text("".join(whole["whole.csv"].splitlines(True)[:4]))
    Path("part.jsonl").write_text("".join(whole["whole.jsonl"].splitlines(True)[:2]))
    both = ("--csv", "part.csv", "--jsonl", "part.jsonl", "--resume")
    assert halnet("predict", ".", *both) == 1
    assert Path("part.csv").read_text() == whole["whole.csv"]
    assert Path("part.jsonl").read_text() == whole["whole.jsonl"]


def test_names_of_every_kind(photos: Path) -> None:
    names = [b"\xff\xfe.jpg", b'a "b", c.jpg', "\N{GREEK SMALL LETTER PHI}.jpg".encode()]
    (photos / "names").mkdir()
    for name in names:
        (photos / "names" / os.fsdecode(name)).write_bytes(PORTRAIT)
    for _ in range(2):
        assert halnet("predict", "names", "--csv", "names.csv", "--resume") == 0
        with Path("names.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            found = [os.fsencode(row["photo"]) for row in csv.DictReader(file)]
        assert sorted(found) == sorted(b"names/" + name for name in names)


def test_files_that_are_not_gone_on_with(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert halnet("predict", "a.jpg", "--csv", "ages.csv") == 0
    before = Path("ages.csv").read_text()
    Path("other.csv").write_text("photo,age\na.jpg,30\n")
    Path("other.jsonl").write_text("{}\n")
    capsys.readouterr()
    for args, message in (
        (["--csv", "ages.csv"], "ages.csv: is there already; --resume goes on with it"),
        (["--csv", "ages.csv", "--resume", "--level", "0.8"], "and level 0.9, found"),
        (["--csv", "other.csv", "--resume"], "not a file that this command wrote (expected the"),
        (["--jsonl", "other.jsonl", "--resume"], "expected an object with a photo on each line"),
        (["--resume"], "--resume goes on with a file"),
    ):
        assert halnet("predict", "b.jpg", *args) == 2
        assert message in capsys.readouterr().err
    assert Path("ages.csv").read_text() == before


def test_the_frames_of_a_video(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert halnet("predict", "film.avi", "--csv", "film.csv", "--draw", "drawn") == 0
    assert "frames of film.avi: 6 of 6" in capsys.readouterr().err
    found = rows(Path("film.csv"))
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
    assert halnet("predict", "film.avi", "--every", "0.25") == 0
    out = capsys.readouterr().out
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "film.avi, 0.00 s",
        "film.avi, 0.30 s",
        "film.avi, 0.50 s",
    ]


def test_videos_that_fail(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert halnet("predict", "none.mp4") == 2
    assert halnet("predict", "none.mp4", "a.jpg") == 1
    assert halnet("predict", "88") == 2
    assert "camera:88: cannot be opened" in capsys.readouterr().err
    assert halnet("predict", "88", "--draw", "x") == 2
    assert "copies are drawn of photos and video files" in capsys.readouterr().err
    (film.parent / "deep" / "film.avi").write_bytes(film.read_bytes())
    assert halnet("predict", "film.avi", "deep/film.avi", "--draw", "x") == 2
    assert "would be written over another video" in capsys.readouterr().err


def test_only_the_largest_face(
    photos: Path, capsys: pytest.CaptureFixture[str], yunet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real detector
    face = load_image(PORTRAIT)
    small = cv2.resize(face, (256, 256), interpolation=cv2.INTER_AREA)
    both = np.full((512, 800, 3), 128, np.uint8)
    both[:, :512] = face
    both[100:356, 530:786] = small
    path = photos / "both.png"
    cv2.imwrite(str(path), both[:, :, ::-1])

    def count(*args: str) -> int:
        assert halnet("predict", path, "--detector", yunet, "--json", *args) == 0
        (entry,) = json.loads(capsys.readouterr().out)
        return len(entry["faces"])

    assert count() == 2
    assert count("--faces", "largest") == 1
    assert count("--min-face", "60") == 1
