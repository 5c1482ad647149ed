"""Prediction runs with the fake runtime and a detector that finds a face in every bright photo."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from csv import DictReader
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from halnet import DetectedFace, prediction_run
from halnet.batches import FaceSelection, PhotoResult
from halnet.cores import Cores
from halnet.errors import ArtifactError, ConfigError, DetectorError
from halnet.prediction_run import PredictConfig, RunOutcome, run_prediction
from halnet.runtimes.base import RuntimeOptions, RuntimeSpec
from halnet.runtimes.fake import FakeRuntime
from halnet.videos.video import Frame

LANDMARKS = np.array([[45, 45], [65, 45], [55, 55], [47, 65], [63, 65]], np.float32)


def detect(photo: np.ndarray) -> list[DetectedFace]:
    """Find a face, or none in a black photo."""
    return [DetectedFace((30, 20, 50, 60), LANDMARKS, 0.9)] if photo.mean() > 5 else []


def gray(brightness: int) -> np.ndarray:
    return np.full((100, 120, 3), brightness, np.uint8)


def write_film(path: Path, *frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (120, 100))
    for brightness in frames:
        writer.write(gray(brightness))
    writer.release()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos and videos of each kind."""
    monkeypatch.chdir(tmp_path)
    for name, brightness in (("a.png", 60), ("b.png", 90), ("wall.png", 0)):
        cv2.imwrite(name, gray(brightness))
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:60])
    write_film(Path("film.avi"), 60, 0, 90)
    write_film(Path("dark.avi"), 0, 0)
    Path("broken.mp4").write_text("no video")
    Path("bare").mkdir()
    for name, other in (("texts", b"a text"), ("scans", b"II*\0, a TIFF file")):
        Path(name).mkdir()
        Path(name, "a.png").write_bytes(Path("a.png").read_bytes())
        Path(name, "other").write_bytes(other)
    return tmp_path


def make(*sources: str, **values: Any) -> PredictConfig:
    """Return a configuration with the fake runtime."""
    return PredictConfig(sources, **{"model": Path("x.fake"), "detector": detect, **values})


def run(config: PredictConfig) -> list[str]:
    """Return the names of the results, with the number of faces or the error of each."""
    found: list[str] = []

    def on_result(result: PhotoResult) -> None:
        found.append(f"{result.photo} {'error' if result.error else len(result.faces)}")

    run_prediction(config, on_result)
    return found


def test_photos_come_first_and_then_videos() -> None:
    assert run(make("film.avi", "b.png", "[a]*.png", "cut.png")) == [
        *("b.png 1", "a.png 1", "cut.png error"),
        *("film.avi 1", "film.avi 0", "film.avi 1"),
    ]


@pytest.mark.parametrize(
    ("sources", "outcome"),
    [
        (["a.png", "b.png"], RunOutcome.COMPLETE),
        (["a.png", "film.avi"], RunOutcome.COMPLETE),  # one frame of the film has no face
        (["a.png", "wall.png"], RunOutcome.PARTIAL),
        (["a.png", "cut.png"], RunOutcome.PARTIAL),
        (["wall.png"], RunOutcome.PARTIAL),
        (["dark.avi"], RunOutcome.PARTIAL),
        (["wall.png", "cut.png"], RunOutcome.PARTIAL),
        (["a.png", "broken.mp4"], RunOutcome.PARTIAL),
        (["film.avi", "none.png"], RunOutcome.PARTIAL),
        (["a.png", "*.gif"], RunOutcome.PARTIAL),
        (["a.png", "bare"], RunOutcome.PARTIAL),
        (["texts"], RunOutcome.COMPLETE),
        (["scans"], RunOutcome.PARTIAL),
        (["*.gif", "bare"], RunOutcome.UNREADABLE),
        (["cut.png", "none.png"], RunOutcome.UNREADABLE),
        (["broken.mp4"], RunOutcome.UNREADABLE),
        (["cut.png", "none.mp4"], RunOutcome.UNREADABLE),
    ],
)
def test_the_outcome_of_a_run(sources: list[str], outcome: RunOutcome) -> None:
    assert run_prediction(make(*sources)) == outcome


def test_a_name_without_photos_is_an_error_of_this_name_in_every_output() -> None:
    config = make("*.gif", "a.png", "bare", csv=Path("ages.csv"), jsonl=Path("ages.jsonl"))
    assert run(config) == ["*.gif error", "bare error", "a.png 1"]
    rows = DictReader(Path("ages.csv").read_text().splitlines())
    assert [(row["photo"], row["error"]) for row in rows] == [
        ("*.gif", "*.gif: no photos match this pattern, and no file has this name"),
        ("bare", "bare: there are no photos in this folder"),
        ("a.png", ""),
    ]
    assert len(Path("ages.jsonl").read_text().splitlines()) == 3


def test_what_was_left_out_is_told_at_the_end() -> None:
    told: list[str] = []
    run_prediction(
        make("scans", "a.png", "texts"),
        lambda result: told.append(result.photo),
        on_left_out=lambda left_out: told.append(f"{left_out.source} {left_out}"),
    )
    assert told == [
        *("scans/a.png", "a.png", "texts/a.png"),
        *("scans TIFF or camera raw photos: 1 (save them as JPEG)", "texts other files: 1"),
    ]


def test_copies_are_drawn_although_a_name_has_no_photos() -> None:
    assert run(make("bare", "film.avi", draw=Path("drawn")))[0] == "bare error"
    assert [path.name for path in Path("drawn").iterdir()] == ["film.avi.mp4"]


def test_a_run_that_has_nothing_left_to_do_is_complete() -> None:
    run_prediction(make("a.png", "b.png", csv=Path("ages.csv")))
    again = make("a.png", csv=Path("ages.csv"), resume=True)
    assert run_prediction(again) == RunOutcome.COMPLETE


def test_a_continued_run_is_not_unreadable_because_its_rest_is() -> None:
    run_prediction(make("a.png", "cut.png", csv=Path("ages.csv")))
    again = make("a.png", "cut.png", csv=Path("ages.csv"), resume=True)
    assert run_prediction(again) == RunOutcome.PARTIAL


@pytest.mark.parametrize(
    ("csv_lines", "jsonl_lines", "skipped"), [(3, 2, 1), (2, 4, 1), (4, 4, 3), (1, 1, 0), (4, 0, 0)]
)
def test_a_photo_is_skipped_if_every_file_holds_it(
    csv_lines: int, jsonl_lines: int, skipped: int
) -> None:
    sources = ("a.png", "b.png", "cut.png", "wall.png")
    files = {"csv": Path("ages.csv"), "jsonl": Path("ages.jsonl")}
    run_prediction(make(*sources, **files))
    whole = {path: path.read_text() for path in files.values()}
    # The header and three photos of the CSV file, and four lines of the other one, are complete.
    for path, count in ((files["csv"], csv_lines + 1), (files["jsonl"], jsonl_lines)):
        path.write_text("".join(whole[path].splitlines(keepends=True)[:count]))
    started: list[tuple[str, int]] = []

    def on_start(spec: RuntimeSpec, count: int) -> None:
        started.append((spec.runtime, count))

    run_prediction(make(*sources, **files, resume=True), on_start=on_start)
    assert started == [("fake", skipped)]
    assert {path: path.read_text() for path in files.values()} == whole


def test_a_video_is_skipped_if_the_file_holds_it() -> None:
    run_prediction(make("film.avi", "dark.avi", csv=Path("ages.csv")))
    before = Path("ages.csv").read_text()
    assert run(make("film.avi", "dark.avi", csv=Path("ages.csv"), resume=True)) == [
        "dark.avi 0",
        "dark.avi 0",
    ]
    assert Path("ages.csv").read_text() == before


def test_progress_is_shown_for_photos_and_for_each_video() -> None:
    seen: list[tuple[str, int, int]] = []

    @contextmanager
    def open_progress(label: str) -> Iterator[Callable[[int, int], None]]:
        yield lambda done, total: seen.append((label, done, total))

    config = make("a.png", "cut.png", "film.avi", "broken.mp4")
    run_prediction(config, open_progress=open_progress)
    assert seen == [
        *(("photos", 1, 2), ("photos", 2, 2)),
        *(("frames of film.avi", n, 3) for n in (1, 2, 3)),
        ("videos", 1, 1),
    ]


def test_the_options_reach_the_predictor() -> None:
    specs: list[RuntimeSpec] = []
    ages: list[float] = []
    run_prediction(
        make("a.png", options=RuntimeOptions("fake", "cpu", 3)),
        lambda result: ages.extend(face.age for face in result.faces),
        lambda spec, skipped: specs.append(spec),
    )
    assert (specs[0].runtime, specs[0].provider, specs[0].threads) == ("fake", "cpu", 3)
    assert ages == pytest.approx([60 / 255 * 100], abs=0.01)
    assert run(make("a.png", min_face=51)) == ["a.png 0"]
    assert run(make("film.avi", every=0.2)) == ["film.avi 1", "film.avi 1"]


def test_copies_are_drawn_of_photos_and_videos() -> None:
    run_prediction(make("a.png", "film.avi", draw=Path("drawn")))
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["a.png.jpg", "film.avi.mp4"]


class LiveVideo:
    """A camera without an end that gives a frame for every half second."""

    live, name = True, "camera:9"
    closed = 0

    def __init__(self, source: str, every: float) -> None:
        pass

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Frame]:
        seconds = 0.0
        while True:
            yield Frame(gray(90), seconds)
            seconds += 0.5

    def __enter__(self) -> "LiveVideo":
        return self

    def __exit__(self, *error: object) -> None:
        LiveVideo.closed += 1


def test_a_live_source_is_closed_after_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halnet.prediction_run.open_video", LiveVideo)
    assert run(make("9", seconds=1.2)) == ["camera:9 1"] * 3
    assert LiveVideo.closed == 1


def test_resume_needs_a_file() -> None:
    with pytest.raises(ConfigError, match="--resume continues a result file; name it with --csv"):
        make("a.png", resume=True)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"selection": FaceSelection(level=1.5)}, ConfigError, "interval level 1.5"),
        ({"model": Path("no.onnx")}, ArtifactError, "no such model file"),
        ({"detector": Path("no.onnx")}, DetectorError, "YuNet model cannot be read"),
        ({"min_face": -3.0}, ConfigError, "min_face: .* pixels from 0 up, found -3.0"),
        ({"every": float("nan")}, ConfigError, "every: .* seconds from 0 up, found nan"),
        ({"seconds": -1.0}, ConfigError, "seconds: .* seconds from 0 up, found -1.0"),
        ({"jsonl": Path("-"), "csv": Path("/dev/stdout")}, ConfigError, "standard output, found b"),
        ({"sources": ("0",), "draw": Path("drawn")}, ConfigError, "not of a live source"),
    ],
)
def test_what_cannot_work_fails_before_the_work(
    values: dict[str, Any], error: type[Exception], message: str
) -> None:
    started: list[RuntimeSpec] = []
    with pytest.raises(error, match=message):
        config = PredictConfig(
            **{
                **{"sources": ("a.png",), "model": Path("x.fake"), "detector": detect},
                **{"csv": Path("ages.csv"), **values},
            }
        )
        run_prediction(config, on_start=lambda spec, skipped: started.append(spec))
    assert not started
    assert not Path("ages.csv").exists()


@pytest.mark.parametrize(
    ("photos", "values", "workers", "threads"),
    [
        (8, {}, 2, 1),
        (7, {}, 1, 2),  # too few: one after the other, with all cores for each
        (8, {"options": RuntimeOptions(threads=2)}, 1, 2),
        (8, {"options": RuntimeOptions(threads=2), "workers": 3}, 3, 2),
        (1, {"workers": 3}, 3, 1),
        (8, {"detector": detect}, 1, 2),  # another detector may not allow it
    ],
)
def test_many_photos_are_processed_on_all_cores(
    photos: int,
    values: dict[str, Any],
    workers: int,
    threads: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: dict[str, Any] = {}

    def open_model(model: Path, options: RuntimeOptions) -> FakeRuntime:
        found["calls"], found["threads"] = options.calls, options.threads or 2
        return FakeRuntime(model, options)

    def open_detector(path: Path | None, threads: int | None) -> Any:
        found["threads of the detector"] = threads or 2
        return detect

    monkeypatch.setattr(prediction_run, "find_cores", lambda: Cores(2, 2))
    monkeypatch.setattr(prediction_run, "open_model", open_model)
    monkeypatch.setattr(prediction_run, "open_detector", open_detector)
    for index in range(photos):
        Path("bare", f"{index}.png").write_bytes(Path("a.png").read_bytes())
    config = PredictConfig(("bare",), **{"model": Path("x.fake"), **values})
    results: list[PhotoResult] = []
    assert run_prediction(config, results.append) is RunOutcome.COMPLETE
    assert [result.photo for result in results] == [f"bare/{index}.png" for index in range(photos)]
    expected = {"calls": workers, "threads": threads, "threads of the detector": threads}
    if "detector" in values:
        del expected["threads of the detector"]
    assert found == expected
