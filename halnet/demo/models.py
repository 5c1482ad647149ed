"""Models of the demo: which files, on which of the runtimes installed, and the open predictors."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from halnet.demo.server import DemoConfig
from halnet.errors import HalnetError
from halnet.faces import FaceDetector
from halnet.predictor import Predictor
from halnet.runtimes.backends import bundled_model, bundled_runtimes, installed, runtimes_for

BUNDLED_NAME = "bundled"


@dataclass(frozen=True)
class Choice:
    """A model file on a runtime."""

    model: str  # as it is shown
    runtime: str
    path: Path

    def __str__(self) -> str:
        return f"{self.model} on {self.runtime}"


def find_choices(models: Iterable[str]) -> list[Choice]:
    """Return each model on each runtime installed that runs it: the bundled one, then the others.

    A folder stands for the models in it.
    """
    choices = [
        Choice(BUNDLED_NAME, name, bundled_model(name)) for name in installed(bundled_runtimes())
    ]
    for model in models:
        for path in _files(Path(model)):
            choices += [Choice(path.name, name, path) for name in installed(runtimes_for(path))]
    return [choice for choice in choices if choice.runtime != "fake"]


def _files(path: Path) -> list[Path]:
    if not path.is_dir() or runtimes_for(path):
        return [path]
    return sorted(file for file in path.iterdir() if runtimes_for(file))


def open_predictor(choice: Choice, config: DemoConfig) -> Predictor:
    """Return the predictor of a choice, opened once for all users of the page.

    Raises HalnetError where it cannot be opened any more.
    """
    changed = choice.path.stat().st_mtime_ns if choice.path.exists() else 0
    return _open(str(choice.path), choice.runtime, config.threads, config.detector, changed)


@st.cache_resource(show_spinner="Opening the model")
def _open(
    path: str, runtime: str, threads: int | None, detector: str | None, changed: int
) -> Predictor:
    del changed  # a file that was written anew is opened anew
    return Predictor(path, runtime=runtime, threads=threads, detector=_detector(detector))


@st.cache_resource(show_spinner="Fetching the face detector")
def _detector(path: str | None) -> FaceDetector:
    return FaceDetector(path)


def ready(choice: Choice, config: DemoConfig) -> Predictor | None:
    """Return the predictor of a choice; where it cannot be opened, say so on the page."""
    try:
        return open_predictor(choice, config)
    except HalnetError as error:
        st.error(str(error), icon=":material/error:")
        return None
