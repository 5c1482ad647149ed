"""Stages: how long each part of the way from the bytes of a photo to the ages of its faces takes.

What is timed is the predictor's own way: `ClockedPredictor` and `ClockedView` call what they are
derived from, and a clock runs meanwhile.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from halnet.faces.alignment import Landmarks
from halnet.faces.detected import DetectedFace, Detector
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import Image, OpenedPhoto, open_photo
from halnet.predictor import Predictor
from halnet.results import Ages
from halnet.runtimes.base import Crops, Runtime

DECODING, DETECTION, ALIGNMENT, MODEL = "decoding", "detection", "alignment", "model"
REST = "rest"
STAGES = (DECODING, DETECTION, ALIGNMENT, MODEL, REST)


class StageClock:
    """Measures stages. What a stage inside of another one takes counts for the inner one alone.

    The sum of all stages is therefore the time of the outermost one. `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._inner: list[float] = []  # of each open stage: the seconds of the stages inside of it

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block as a stage, which may have several blocks."""
        self._inner.append(0.0)
        start = self._clock()
        try:
            yield
        finally:
            seconds = self._clock() - start
            own = seconds - self._inner.pop()
            self._seconds[name] = self._seconds.get(name, 0.0) + own
            if self._inner:
                self._inner[-1] += seconds

    def take(self) -> tuple[float, ...]:
        """Return the seconds of each of `STAGES`, and begin again."""
        seconds, self._seconds = self._seconds, {}
        return tuple(seconds.get(name, 0.0) for name in STAGES)


class ClockedView(PhotoView):
    """A photo from the bytes of its file, with a clock."""

    def __init__(self, data: bytes, clock: StageClock) -> None:
        self._clock = clock
        with clock.stage(DECODING):
            opened = open_photo(data)
        super().__init__(OpenedPhoto(opened.sides, opened.scales, self._clocked(opened)))

    def _clocked(self, opened: OpenedPhoto) -> Callable[[int], Image]:
        def decode(scale: int) -> Image:
            with self._clock.stage(DECODING):
                return opened.decode(scale)

        return decode

    def detect(self, detector: Detector, min_face: float = 0.0) -> tuple[DetectedFace, ...]:
        """Do what `PhotoView.detect` does, with the clock."""
        with self._clock.stage(DETECTION):
            return super().detect(detector, min_face)

    def crops(self, landmarks: Sequence[Landmarks], margin: int = 0) -> Image:
        """Do what `PhotoView.crops` does, with the clock."""
        with self._clock.stage(ALIGNMENT):
            return super().crops(landmarks, margin)


class ClockedPredictor(Predictor):
    """A predictor that times each photo by its stages. It is for one thread."""

    def __init__(self, model: Runtime, detector: Detector, clock: StageClock) -> None:
        super().__init__(model, detector=detector)
        self._clock = clock

    def predict_crops(self, crops: Crops) -> Ages:
        """Do what `Predictor.predict_crops` does, with the clock."""
        with self._clock.stage(MODEL):
            return super().predict_crops(crops)

    def time_photo(self, data: bytes) -> tuple[float, ...]:
        """Predict the faces of a photo from its bytes; return the seconds of each of `STAGES`."""
        with self._clock.stage(REST):
            view = ClockedView(data, self._clock)
            self.predict_faces(view, self.detect(view))
        return self._clock.take()
