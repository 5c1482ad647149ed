"""Stages: each second counts for one stage, and the predictor's own way is what is timed."""

from collections.abc import Callable

import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.benchmarks.bench import stages
from halnet.benchmarks.bench.stages import STAGES, ClockedPredictor, StageClock
from halnet.benchmarks.samples import PORTRAIT, portrait
from halnet.faces import photo_view
from halnet.faces.detected import DetectedFace
from halnet.photos.images import Image, OpenedPhoto, open_photo
from halnet.predictor import Predictor
from halnet.results import Outputs
from halnet.runtimes.base import Crops
from halnet.runtimes.fake import FakeRuntime


class Clock:
    """A clock that only the stages move, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowRuntime(FakeRuntime):
    """Takes 16 s."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def run(self, crops: Crops) -> Outputs:
        self.clock.now += 16
        return super().run(crops)


def test_a_stage_inside_of_another_one_counts_alone() -> None:
    clock = Clock()
    found = StageClock(clock)
    with found.stage("rest"):
        clock.now += 1
        with found.stage("detection"):
            clock.now += 2
            with found.stage("decoding"):
                clock.now += 4
            clock.now += 8
        with found.stage("alignment"), found.stage("decoding"):
            clock.now += 16
    assert dict(zip(STAGES, found.take(), strict=True)) == {
        "decoding": 4 + 16,
        "detection": 2 + 8,
        "alignment": 0,
        "model": 0,
        "rest": 1,
    }
    assert found.take() == (0, 0, 0, 0, 0)


def test_a_photo_is_timed_by_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening takes 1 s, each decoding 2 s, detection 4 s, a crop 8 s and the model 16 s."""
    clock = Clock()
    data = bundled(PORTRAIT).read_bytes()
    face = portrait()[1]
    plain = photo_view.align

    def opened(source: bytes) -> OpenedPhoto:
        clock.now += 1
        found = open_photo(source)

        def decode(scale: int) -> Image:
            clock.now += 2
            return found.decode(scale)

        return OpenedPhoto(found.sides, found.scales, decode)

    def detect(image: Image) -> list[DetectedFace]:
        clock.now += 4
        return [face, face]

    def align(image: Image, landmarks: np.ndarray, margin: int = 0) -> Image:
        clock.now += 8
        return plain(image, landmarks, margin)

    monkeypatch.setattr(stages, "open_photo", opened)
    monkeypatch.setattr(photo_view, "align", align)
    predictor = ClockedPredictor(SlowRuntime(clock), detect, StageClock(clock))
    seconds = dict(zip(STAGES, predictor.time_photo(data), strict=True))
    decodings = (seconds.pop("decoding") - 1) / 2
    assert decodings >= 1
    assert decodings == int(decodings)
    assert seconds == {"detection": 4, "alignment": 16, "model": 16, "rest": 0}
    assert clock.now == 1 + 2 * decodings + 4 + 16 + 16


def test_the_ages_are_those_of_the_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    predict: Callable[..., object] = Predictor._predict_faces

    def keep(*arguments: object) -> object:
        kept.append(predict(*arguments))
        return kept[-1]

    monkeypatch.setattr(Predictor, "_predict_faces", keep)
    data, face = bundled(PORTRAIT).read_bytes(), portrait()[1]
    ClockedPredictor(FakeRuntime(), lambda image: [face], StageClock()).time_photo(data)
    Predictor(FakeRuntime(), detector=lambda image: [face])(data)
    (timed,), (plain,) = kept
    assert timed.age == plain.age
    assert timed.age > 0
