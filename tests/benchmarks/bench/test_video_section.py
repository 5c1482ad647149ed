"""Video: the made files, what is counted, and the section."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from halnet.ages import AGES, AgeCalibration
from halnet.batches import PhotoResult
from halnet.benchmarks.bench import video_section as videos
from halnet.benchmarks.bench.video_section import (
    VideoTime,
    ages_of_tracks,
    largest_deviation,
    time_videos,
    video_section,
    write_made_video,
)
from halnet.reporting.json_values import from_values, to_values
from halnet.reporting.sections import Section
from halnet.results import Face
from halnet.videos.video_file import VideoFile

CALIBRATION = AgeCalibration(1.0, tuple(np.linspace(0.1, 3, 99)))


def face(age: int, track: int | None = None, x: float = 0.0) -> Face:
    probabilities = (age == AGES).astype(np.float32)
    box = (x, 0.0, 100.0, 100.0)
    return Face(age, 0.0, probabilities, box, np.zeros((5, 2)), 0.9, CALIBRATION, track=track)


def test_a_made_video_has_still_portraits_and_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "FRAMES", 3)
    write_made_video(tmp_path / "two.mp4", 300, ((0, 0), (900, 400)))
    with VideoFile(tmp_path / "two.mp4") as video:
        frames = list(video)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08])
    first, last = (frame.image.astype(int) for frame in (frames[0], frames[-1]))
    assert first.shape == (720, 1280, 3)
    gray = first[350:, :800]
    assert abs(gray.mean() - 120) < 3, "behind the portraits"
    assert abs(first[:300, :265] - first[400:700, 900:1165]).mean() < 8, "the same portrait twice"
    assert first[:300, :265].std() > 30
    assert 0 < abs(first - last).mean() < 5


def test_ages_are_those_of_a_person_in_all_frames() -> None:
    results = [
        PhotoResult("v", [face(20, 1), face(60, 2)]),
        PhotoResult("v", []),
        PhotoResult("v", [face(64, 2), face(20, 1)]),
    ]
    ages = ages_of_tracks(results)
    assert ages == {1: [20, 20], 2: [60, 64]}
    assert largest_deviation(ages) == 2.0
    assert largest_deviation({}) == 0.0


def test_rates_are_medians_and_smoothing_makes_ages_steadier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four frames take 1, 2 and 4 seconds in the three turns of the only video."""
    ends = iter((0.0, 1.0, 10.0, 12.0, 20.0, 24.0))

    def predict(predictor: Any, video: Any, workers: int, tracker: Any) -> Any:
        assert workers == 3
        for number, age in enumerate((20, 30, 20, 30)):
            yield PhotoResult("v", tracker.update([face(age)], number / 10))

    monkeypatch.setattr(videos, "predict_video", predict)
    monkeypatch.setattr(videos, "VideoFile", lambda path: SimpleNamespaceContext())
    predictors: Any = {"a.onnx": SimpleNamespace()}
    (found,) = time_videos(predictors, {1: Path("one.mp4")}, 3, lambda: next(ends))
    assert (found.model, found.faces, found.rate, found.persons) == ("a.onnx", 1, 2.0, 1)
    assert found.unsmoothed == 5.0
    # The averages of the first 1, 2, 3 and 4 frames.
    assert found.deviation == pytest.approx(np.std([20, 25, 70 / 3, 25]), abs=0.2)


class SimpleNamespaceContext:
    """A video that is opened and closed."""

    def __enter__(self) -> "SimpleNamespaceContext":
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def test_the_section_has_all_values_and_warns_of_lost_persons() -> None:
    times = [VideoTime("a.onnx", 1, 100.0, 1, 0.2, 0.4), VideoTime("a.onnx", 5, 50.0, 6, 0.3, 0.5)]
    section = video_section(times, 2)
    (table,) = section.tables
    assert table.rows == ((1, "a.onnx", 100.0, 1, 0.2, 0.4), (5, "a.onnx", 50.0, 6, 0.3, 0.5))
    assert section.warnings == ("a.onnx followed 6 persons in the video with 5 faces.",)
    assert "2 frames at the same time" in section.text[0]
    assert from_values(Section, json.loads(json.dumps(to_values(section)))) == section
