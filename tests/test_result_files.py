"""Result files: what is written, and what a later run continues."""

import csv
import io
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from halnet.batches import FaceSelection, PhotoResult
from halnet.errors import ConfigError
from halnet.faces.quality import Quality
from halnet.result_files import (
    COLUMNS,
    NO_FACE,
    ResultFile,
    model_name,
    name_columns,
    percent_text,
    to_csv,
    to_entry,
    to_rows,
)
from halnet.results import Face
from halnet.runtimes.fake import FakeRuntime

SPEC = FakeRuntime().spec
MODEL = "0123456789ab fp32"


def face(age: float) -> Face:
    """A face whose interval at the level 0.9 is 9 years on either side of its age."""
    return Face(
        age=age,
        stddev=5.0,
        probabilities=np.full(101, 1 / 101, np.float32),
        box=(1.04, 2.0, 30.0, 40.0),
        landmarks=np.zeros((5, 2), np.float32),
        score=0.98765,
        calibration=SPEC.metadata.calibration,
    )


TWO = PhotoResult("a.jpg", [face(40), face(30)])
NONE = PhotoResult("wall.png", [])
BAD = PhotoResult("cut.jpg", [], "cut.jpg: the file is empty")
FRAME = PhotoResult("film.mp4", [face(20)], time=0.12345)
LAST = PhotoResult("z.jpg", [face(50), face(51)])
RESULTS = (TWO, NONE, BAD, FRAME, LAST)


def write(path: Path, *results: PhotoResult, resume: bool = False) -> frozenset[str]:
    """Write results into a file; return the names that were in it before."""
    with ResultFile(path, path.suffix[1:], 0.9, MODEL, resume) as file:
        for result in results:
            file.write(result)
        return file.done


def test_each_face_has_a_row() -> None:
    first, second = to_rows(TWO, 0.9, MODEL)
    assert first == {
        **{"photo": "a.jpg", "face": 1, "age": 40, "stddev": 5, "low": 31, "high": 49},
        **{"x": 1.0, "y": 2, "width": 30, "height": 40, "score": 0.9877},
        **{"turned": 0, "track": None},
        **{"level": 0.9, "model": MODEL, "format": 2},
    }
    assert (second["face"], second["age"]) == (2, 30)
    known = replace(face(40), turned=270, track=3)
    (row,) = to_rows(PhotoResult("a.jpg", [known]), 0.9, MODEL)
    assert (row["turned"], row["track"]) == (270, 3)
    assert set(first) < set(COLUMNS)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (NONE, {"photo": "wall.png", "error": NO_FACE}),
        (BAD, {"photo": "cut.jpg", "error": "cut.jpg: the file is empty"}),
        (
            PhotoResult("film.mp4", [], time=0.5),
            {"photo": "film.mp4", "time": 0.5, "error": NO_FACE},
        ),
    ],
)
def test_a_result_without_faces_has_one_row(
    result: PhotoResult, expected: dict[str, object]
) -> None:
    assert to_rows(result, 0.8, MODEL) == [{**expected, "level": 0.8, "model": MODEL, "format": 2}]


def test_csv_text_has_a_line_for_each_row() -> None:
    lines = to_csv([TWO, NONE], 0.9, MODEL).splitlines()
    assert lines == [
        "photo,time,face,age,stddev,low,high,level,x,y,width,height,score,turned,track,"
        "model,error,format",
        f"a.jpg,,1,40,5.0,31.0,49.0,0.9,1.0,2.0,30.0,40.0,0.9877,0,,{MODEL},,2",
        f"a.jpg,,2,30,5.0,21.0,39.0,0.9,1.0,2.0,30.0,40.0,0.9877,0,,{MODEL},,2",
        f"wall.png,,,,,,,0.9,,,,,,,,{MODEL},no face found,2",
    ]


def test_the_name_of_a_model_states_checkpoint_and_precision() -> None:
    assert model_name(SPEC) == f"{SPEC.metadata.checkpoint_sha256[:12]} fp32"


def test_both_kinds_of_files_hold_the_same(tmp_path: Path) -> None:
    write(tmp_path / "new" / "ages.csv", *RESULTS)
    write(tmp_path / "ages.jsonl", *RESULTS)
    text = (tmp_path / "new" / "ages.csv").read_text()
    assert text == to_csv(RESULTS, 0.9, MODEL)
    rows = list(csv.DictReader(io.StringIO(text)))
    entries = [json.loads(line) for line in (tmp_path / "ages.jsonl").read_text().splitlines()]
    assert [entry["photo"] for entry in entries] == list(dict.fromkeys(r["photo"] for r in rows))
    assert entries[0]["faces"][0]["interval"] == [31, 49]
    assert entries[2]["error"] == BAD.error
    assert entries[3]["time"] == float(rows[4]["time"]) == 0.123
    assert {(entry["model"], entry["level"]) for entry in entries} == {(MODEL, 0.9)}
    assert {entry["format"] for entry in entries} == {2}


def test_a_result_is_on_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "ages.jsonl"
    with ResultFile(path, "jsonl", 0.9, MODEL, resume=False) as file:
        file.write(TWO)
        assert json.loads(path.read_text())["photo"] == "a.jpg"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ("nothing", set()),
        ("in the header", set()),
        ("before the second photo", set()),
        ("in the third photo", {"a.jpg"}),
        ("after the third photo", {"a.jpg", "wall.png"}),
        ("in the last photo", {"a.jpg", "wall.png", "cut.jpg"}),
        ("whole", {"a.jpg", "wall.png", "cut.jpg", "film.mp4"}),
    ],
)
def test_an_interrupted_file_is_continued(
    kind: str, cut: str, expected: set[str], tmp_path: Path
) -> None:
    path = tmp_path / f"ages.{kind}"
    write(path, *RESULTS)
    whole = path.read_text()
    third = whole.index("cut.jpg")
    ends = {
        "nothing": 0,
        "in the header": 9,
        "before the second photo": whole.index("wall.png"),
        "in the third photo": third + 3,
        "after the third photo": whole.index("\n", third) + 1,
        "in the last photo": whole.index("z.jpg") + 3,
        "whole": len(whole),
    }
    path.write_text(whole[: ends[cut]])
    assert write(path, *RESULTS, resume=True) == expected
    assert path.read_text() == whole


def test_a_photo_with_only_some_of_its_faces_is_predicted_again(tmp_path: Path) -> None:
    path = tmp_path / "ages.csv"
    write(path, *RESULTS)
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("z.jpg")])  # the last photo has two faces
    assert write(path, *RESULTS, resume=True) == {"a.jpg", "wall.png", "cut.jpg", "film.mp4"}
    assert path.read_text() == whole


def test_names_that_are_not_utf_8_keep_their_bytes(tmp_path: Path) -> None:
    names = [
        b"\xff\xfe.jpg",
        b'a "b", c.jpg',
        b"two\r\nlines\r.jpg",
        b"one line\r.jpg",
        "\N{GREEK SMALL LETTER PHI}.jpg".encode(),
    ]
    results = [PhotoResult(os.fsdecode(name), [face(30)]) for name in names]
    path = tmp_path / "names.csv"
    write(path, *results)
    done = write(path, *results, resume=True)
    assert done == {os.fsdecode(name) for name in names[:-1]}
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert [os.fsencode(row["photo"]) for row in csv.DictReader(file)] == names


OLD_CSV = f"""photo,time,face,age,stddev,low,high,level,x,y,width,height,score,model,error,note
a.jpg,,1,40,5.0,31.0,49.0,0.9,1.0,2.0,30.0,40.0,0.9877,{MODEL},,mine
a.jpg,,2,30,5.0,21.0,39.0,0.9,1.0,2.0,30.0,40.0,0.9877,{MODEL},,
wall.png,,,,,,,0.9,,,,,,{MODEL},no face found,
"""
OLD_JSONL = f"""{{"photo": "a.jpg", "faces": [{{"age": 40}}], "level": 0.9, "model": "{MODEL}"}}
{{"photo": "wall.png", "faces": [], "level": 0.9, "model": "{MODEL}"}}
"""


def test_a_csv_file_of_an_older_version_is_continued_by_the_names_of_its_columns(
    tmp_path: Path,
) -> None:
    """The columns that it lacks are empty in its rows, and a column of the user is kept."""
    path = tmp_path / "ages.csv"
    path.write_text(OLD_CSV)
    assert write(path, NONE, LAST, resume=True) == {"a.jpg"}
    found = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["photo"] for row in found] == ["a.jpg", "a.jpg", "wall.png", "z.jpg", "z.jpg"]
    assert [row["format"] for row in found] == ["", "", "2", "2", "2"]
    assert [row["turned"] for row in found] == ["", "", "", "0", "0"]
    assert [row["note"] for row in found] == ["mine", "", "", "", ""]
    assert [row["model"] for row in found] == [MODEL] * 5
    assert [row["high"] for row in found] == ["49.0", "39.0", "", "59.0", "60.0"]
    assert write(path, LAST, resume=True) == {"a.jpg", "wall.png"}
    assert list(csv.DictReader(io.StringIO(path.read_text()))) == found


def test_a_json_lines_file_of_an_older_version_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "ages.jsonl"
    path.write_text(OLD_JSONL)
    assert write(path, NONE, resume=True) == {"a.jpg"}
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == json.loads(OLD_JSONL.splitlines()[0])
    assert (second["photo"], second["format"]) == ("wall.png", 2)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_of_a_newer_version_is_not_continued(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"ages.{kind}"
    write(path, TWO, NONE)
    newer = path.read_text().replace(",2\n", ",3\n").replace('"format": 2', '"format": 3')
    path.write_text(newer)
    with pytest.raises(ConfigError, match="format 2 or older, found format 3, .*; update halnet"):
        write(path, NONE, resume=True)
    assert path.read_text() == newer


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_standard_output_is_a_result_file(
    name: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = PhotoResult(os.fsdecode(b"lat\xe9.jpg"), [face(40)])
    for _ in range(2):  # it stays open
        with ResultFile(Path(name), kind, 0.9, MODEL, resume=False) as file:
            file.write(odd)
    write(tmp_path / f"ages.{kind}", odd)
    assert capfdbinary.readouterr().out == 2 * (tmp_path / f"ages.{kind}").read_bytes()
    assert os.listdir() == [f"ages.{kind}"]
    with pytest.raises(ConfigError, match="found a pipe or device, .*; leave out --resume"):
        ResultFile(Path(name), kind, 0.9, MODEL, resume=True)


def test_a_pipe_is_written_but_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match=r"pipe\.csv: expected a file to continue, found a pipe"):
        write(path, TWO, resume=True)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write(path, TWO)
    assert os.read(reader, 10_000).decode() == to_csv([TWO], 0.9, MODEL)
    os.close(reader)


def test_an_empty_file_is_written_without_resume(tmp_path: Path) -> None:
    path = tmp_path / "ages.csv"
    path.touch()
    write(path, TWO)
    assert path.read_text() == to_csv([TWO], 0.9, MODEL)


HEADER = to_csv([], 0.9, MODEL)


@pytest.mark.parametrize(
    ("name", "content", "resume", "message"),
    [
        ("ages.csv", None, False, r"ages\.csv: exists already; add --resume to continue it"),
        ("ages.csv", "photo,age\na.jpg,30\n", True, "another one .it has no column level, model"),
        ("ages.csv", f"{HEADER}a.jpg,0.9\n", True, "a row has too many or too few fields"),
        ("ages.csv", f"{HEADER}a{',' * 30}\n", True, "a row has too many or too few fields"),
        ("ages.csv", f"{HEADER}a{',' * 7}high{',' * 10}\n", True, "convert string to float"),
        ("ages.jsonl", '{"photo": ["a"]}\n', True, "not every line has an object with a photo"),
        ("ages.jsonl", "[" * 100_000 + "\n", True, "expected a file that halnet predict wrote"),
        ("ages.jsonl", '{"photo": "a", "level": [1]}\n', True, "that halnet predict wrote"),
        ("ages.jsonl", "{}\n", True, "not every line has an object with a photo"),
        ("ages.jsonl", "no JSON\n", True, "expected a file that halnet predict wrote"),
    ],
)
def test_another_file_is_not_changed(
    name: str, content: str | None, resume: bool, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is None:
        write(path, TWO)
    else:
        path.write_text(content)
    before = path.read_text()
    with pytest.raises(ConfigError, match=message):
        write(path, NONE, resume=resume)
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("level", "model", "message"),
    [
        (0.8, MODEL, f"model {MODEL} with level 0.8, found .* {MODEL} with level 0.9; name"),
        (0.9, "other int8", f"other int8 with level 0.9, found .* {MODEL} with level 0.9; name"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_of_another_model_or_level_is_not_continued(
    kind: str, level: float, model: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / f"ages.{kind}"
    write(path, TWO, NONE)
    before = path.read_text()
    with pytest.raises(ConfigError, match=message):
        ResultFile(path, kind, level, model, resume=True)
    assert path.read_text() == before


def test_probabilities_have_columns_of_their_own_at_the_end() -> None:
    """The distribution of the face is uniform, so that 18 or more has 83 of 101 years."""
    assert name_columns((18, 65)) == (*COLUMNS, "at_least_18", "at_least_65")
    first, _ = to_rows(TWO, 0.9, MODEL, (18, 65))
    assert (first["at_least_18"], first["at_least_65"]) == (0.8218, 0.3564)
    assert set(first) - set(to_rows(TWO, 0.9, MODEL)[0]) == {"at_least_18", "at_least_65"}
    (row,) = to_rows(BAD, 0.9, MODEL, (18,))
    assert set(row) <= set(COLUMNS)
    entry = to_entry(TWO, 0.9, MODEL, (65, 18))
    assert [face["at_least"] for face in entry["faces"]] == [{"65": 0.3564, "18": 0.8218}] * 2
    assert "at_least" not in to_entry(TWO, 0.9, MODEL)["faces"][0]


def resume_with(path: Path, at_least: tuple[int, ...], *results: PhotoResult) -> None:
    with ResultFile(path, path.suffix[1:], 0.9, MODEL, True, at_least) as file:
        for result in results:
            file.write(result)


@pytest.mark.parametrize("name", ["ages.csv", "ages.jsonl"])
def test_probabilities_are_continued(name: str, tmp_path: Path) -> None:
    path, whole = tmp_path / name, tmp_path / f"whole_{name}"
    resume_with(whole, (18, 65), *RESULTS)
    resume_with(path, (18, 65), *RESULTS[:3])
    resume_with(path, (18, 65), *RESULTS)
    assert path.read_text() == whole.read_text()
    if name == "ages.csv":
        found = list(csv.DictReader(io.StringIO(path.read_text())))
        assert [row["at_least_18"] for row in found] == [
            "0.8218",
            "0.8218",
            "",
            "",
            *["0.8218"] * 3,
        ]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(("before", "after"), [((18,), ()), ((), (18,)), ((18,), (18, 21))])
def test_other_probabilities_are_not_continued(
    kind: str, before: tuple[int, ...], after: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / f"ages.{kind}"
    resume_with(path, before, NONE, TWO)
    text = path.read_text()
    with pytest.raises(ConfigError, match=r"expected (no )?prob.*; repeat the options --at-least"):
        resume_with(path, after, LAST)
    assert path.read_text() == text


QUALITY = Quality(61.23456, 0.5, 120.0, -3.0, math.nan, 1.0, 0.9)
NUMBERS = {
    **{"eye_distance": 61.2346, "sharpness": 0.5, "brightness": 120.0, "yaw": -3.0},
    **{"pitch": None, "inside": 1.0, "score": 0.9},
}
MEASURED = PhotoResult("q.jpg", [replace(face(40), quality=QUALITY)])


def test_quality_numbers_have_columns_of_their_own_at_the_end(tmp_path: Path) -> None:
    columns = tuple(f"quality_{name}" for name in NUMBERS)
    assert name_columns((18,), quality=True) == (*COLUMNS, "at_least_18", *columns)
    (row,) = to_rows(MEASURED, 0.9, MODEL)
    assert {name: row[f"quality_{name}"] for name in NUMBERS} == NUMBERS
    assert not set(columns) & set(to_rows(TWO, 0.9, MODEL)[0])
    assert to_entry(MEASURED, 0.9, MODEL)["faces"][0]["quality"] == NUMBERS
    path = tmp_path / "ages.csv"
    with ResultFile(path, "csv", 0.9, MODEL, resume=False, quality=True) as file:
        file.write(MEASURED)
        file.write(NONE)
    measured, bare = csv.DictReader(io.StringIO(path.read_text()))
    assert [measured[name] for name in columns[:2]] == ["61.2346", "0.5"]
    assert measured["quality_pitch"] == bare["quality_sharpness"] == ""


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("first", "message"),
    [
        (True, "expected results without quality numbers, found some with them; add --quality"),
        (False, "expected results with quality numbers, found some without them; leave out --qual"),
    ],
)
def test_files_with_and_without_quality_numbers_are_not_mixed(
    first: bool, message: str, kind: str, tmp_path: Path
) -> None:
    path, result = tmp_path / f"ages.{kind}", MEASURED if first else TWO
    with ResultFile(path, kind, 0.9, MODEL, resume=False, quality=first) as file:
        file.write(NONE)
        file.write(result)
    text = path.read_text()
    with pytest.raises(ConfigError, match=message):
        ResultFile(path, kind, 0.9, MODEL, resume=True, quality=not first)
    assert path.read_text() == text
    with ResultFile(path, kind, 0.9, MODEL, resume=True, quality=first) as file:
        assert file.done == {"wall.png"}
        file.write(result)
    assert path.read_text() == text


@pytest.mark.parametrize("faces", ["5", '["a"]', '[{"at_least": 5}]', '[{"at_least": [[]]}]', "{}"])
def test_damaged_faces_are_no_result(faces: str, tmp_path: Path) -> None:
    path = tmp_path / "ages.jsonl"
    path.write_text(f'{{"photo": "a", "level": 0.9, "model": "{MODEL}", "faces": {faces}}}\n')
    with pytest.raises(ConfigError, match="expected a file that halnet predict wrote"):
        resume_with(path, (), LAST)


def test_a_selection_has_each_age_once() -> None:
    assert FaceSelection(at_least=(21, 18, 21)).at_least == (18, 21)
    for years in (-1, 101):
        with pytest.raises(ConfigError, match=f"at least {years}: expected an age from 0 to 100"):
            FaceSelection(at_least=(18, years))


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        *((0.0, "below 1 %"), (0.009, "below 1 %"), (0.01, "1 %"), (0.5, "50 %")),
        *((0.97, "97 %"), (0.99, "99 %"), (0.9901, "above 99 %"), (1.0, "above 99 %")),
    ],
)
def test_no_probability_is_certain(probability: float, text: str) -> None:
    assert percent_text(probability) == text
