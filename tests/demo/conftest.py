"""Fixtures of the demo's tests."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from halnet.artifact import bundled
from halnet.demo.server import CONFIG_VARIABLE
from halnet.predictor import Predictor
from halnet.results import Face


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, yunet: Path) -> Callable[..., None]:
    """Return a function that sets the configuration which `halnet demo` passes to the page."""

    def configure(**values: object) -> None:
        monkeypatch.setenv(CONFIG_VARIABLE, json.dumps({"detector": str(yunet), **values}))

    configure()
    return configure


@pytest.fixture(scope="session")
def portrait_face(yunet: Path) -> Face:
    """The face of the bundled portrait, as the bundled model predicts it."""
    with Predictor(detector=yunet) as predictor:
        (face,) = predictor(bundled("portrait.jpg"))
    return face
