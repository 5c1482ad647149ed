import numpy as np
import pytest

from halnet.benchmarks.samples import portrait
from halnet.faces import FaceDetector


@pytest.fixture
def stored_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for YuNet where it is not to be had: the portrait's stored face, none elsewhere."""

    class Stored(FaceDetector):
        def __init__(self, model: object = None, min_face: float = 0.0) -> None:
            pass

        def __call__(self, image: np.ndarray) -> tuple[object, ...]:  # type: ignore[override]
            return (portrait()[1],) if image.shape[:2] == (512, 512) and image.std() > 5 else ()

    monkeypatch.setattr("halnet.predictor.FaceDetector", Stored)
