"""The frames of a live video, on a runtime without a model and detectors that tests control."""

import asyncio
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("streamlit")

from av import VideoFrame

from halnet.ages import LEVEL
from halnet.demo.live import LiveView
from halnet.drawing import draw_faces, draw_note
from halnet.errors import DetectorError
from halnet.faces.alignment import TEMPLATE
from halnet.faces.detected import DetectedFace
from halnet.photos.images import Image
from halnet.predictor import Predictor
from halnet.runtimes.fake import FakeRuntime


def find_one_face(photo: Image) -> list[DetectedFace]:
    return [DetectedFace((100, 100, 120, 150), TEMPLATE + 60, 0.9)]


def frame(brightness: int) -> VideoFrame:
    return VideoFrame.from_ndarray(np.full((48, 64, 3), brightness, np.uint8), format="rgb24")


def test_a_frame_shows_faces_ages_and_the_frame_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=count(0, 0.1).__next__)
    monkeypatch.setattr("halnet.demo.live.time", clock)
    picture = np.full((480, 640, 3), 100, np.uint8)
    predictor = Predictor(FakeRuntime(), detector=find_one_face)
    boxes = draw_faces(picture, predictor(picture), 0.5)
    view = LiveView(predictor, 0.5)
    assert np.array_equal(view.draw(picture), draw_note(boxes, "0 frames/s, fake"))
    assert np.array_equal(view.draw(picture), draw_note(boxes, "10 frames/s, fake"))


def test_another_level_applies_from_the_next_frame_on() -> None:
    picture = np.full((480, 640, 3), 100, np.uint8)
    predictor = Predictor(FakeRuntime(), detector=find_one_face)
    view = LiveView(predictor, LEVEL)
    first = view.draw(picture)
    view.configure(predictor, 0.5)
    assert (view.draw(picture)[:400] != first[:400]).any()  # above the note


def test_slow_frames_do_not_pile_up() -> None:
    seen: list[int] = []

    def detect(photo: Image) -> list[DetectedFace]:
        seen.append(int(photo[0, 0, 0]))
        return []

    view = LiveView(Predictor(FakeRuntime(), detector=detect), LEVEL)
    queued = [frame(20 * number) for number in range(1, 6)]
    assert len(asyncio.run(view.draw_newest(queued))) == 1
    assert len(asyncio.run(view.draw_newest(queued[:2]))) == 1
    assert seen == [100, 40]  # the newest frame of each call


def test_an_error_is_written_on_the_frame() -> None:
    def detect(photo: Image) -> list[DetectedFace]:
        raise DetectorError("the detector is gone")

    picture = np.full((480, 640, 3), 200, np.uint8)
    drawn = LiveView(Predictor(FakeRuntime(), detector=detect), LEVEL).draw(picture)
    assert np.array_equal(drawn, draw_note(picture, "the detector is gone"))
