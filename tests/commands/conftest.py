"""What the tests of several commands use."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet import DetectedFace, Detector, FaceDetector
from halnet.artifact import bundled
from halnet.benchmarks.samples import portrait
from halnet.commands import group, run


@pytest.fixture
def halnet() -> Callable[..., int]:
    """A function that runs a command in this process, and returns its exit status."""
    return lambda *args: run(group, [str(arg) for arg in args])


@pytest.fixture
def stored_face(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the stored face of the portrait without YuNet, unless a YuNet file is named."""

    def detect(photo: np.ndarray) -> list[DetectedFace]:
        return [portrait()[1]] if photo.shape[:2] == (512, 512) and photo.std() > 5 else []

    def load(model: Path | None = None, threads: int | None = None) -> Detector:
        return detect if model is None else FaceDetector(model, threads=threads)

    for module in ("predictor", "prediction_run"):
        monkeypatch.setattr(f"halnet.{module}.open_detector", load)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: two portraits, one in a subfolder, a wall, three bad photos, a text."""
    root = tmp_path / "photos"
    (root / "deep").mkdir(parents=True)
    data = bundled("portrait.jpg").read_bytes()
    (root / "a.jpg").write_bytes(data)
    (root / "deep" / "b.JPG").write_bytes(data)
    (root / "cut.jpg").write_bytes(data[:20000])
    (root / "empty.jpg").touch()
    (root / "text.png").write_text("no photo")
    (root / "notes.txt").write_text("not a name of a photo")
    cv2.imwrite(str(root / "wall.png"), np.full((90, 90, 3), 128, np.uint8))
    monkeypatch.chdir(root)
    return root
