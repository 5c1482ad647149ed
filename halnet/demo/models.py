"""Models of the demo: the models and runtimes that the page offers, and their open predictors."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from halnet.demo.server import DemoConfig
from halnet.demo.widgets import show_error
from halnet.errors import HalnetError
from halnet.faces.upright import UprightDetector, open_detector
from halnet.predictor import Predictor
from halnet.runtimes.backends import (
    bundled_model,
    bundled_runtimes,
    installed,
    open_model,
    runtimes_for,
)
from halnet.runtimes.base import RuntimeOptions

BUNDLED_NAME = "bundled"  # name of the bundled model on the page


@dataclass(frozen=True)
class Choice:
    """A model, and a runtime that can run it."""

    model: str  # name of the model on the page
    runtime: str
    path: Path  # of the model file


def find_choices(models: Iterable[str]) -> list[Choice]:
    """Return every model on every installed runtime that can run it, the bundled model first.

    `models` are paths of model files, or of folders that contain model files.
    """
    choices = [
        Choice(BUNDLED_NAME, runtime, bundled_model(runtime))
        for runtime in installed(bundled_runtimes())
    ]
    for model in models:
        for path in _model_files(Path(model)):
            choices += [Choice(path.name, name, path) for name in installed(runtimes_for(path))]
    return choices


def _model_files(path: Path) -> list[Path]:
    if not path.is_dir() or runtimes_for(path):  # an OpenVINO model is a folder
        return [path]
    return sorted(file for file in path.iterdir() if runtimes_for(file))


def open_predictor(choice: Choice, config: DemoConfig) -> Predictor:
    """Return the predictor of a choice. All users of the page share it.

    Raises HalnetError if the model or the face detector cannot be loaded.
    """
    modified = choice.path.stat().st_mtime_ns if choice.path.exists() else 0
    options = RuntimeOptions(choice.runtime, threads=config.threads)
    return _open(str(choice.path), options, config.detector, modified)


@st.cache_resource(show_spinner="Loading the model")
def _open(path: str, options: RuntimeOptions, detector: str | None, modified: int) -> Predictor:
    del modified  # a part of the cache's key: a file that has changed is loaded again
    return Predictor(open_model(path, options), detector=_load_detector(detector))


@st.cache_resource(show_spinner="Loading the face detector")
def _load_detector(path: str | None) -> UprightDetector:
    return open_detector(path)


def open_or_report(choice: Choice, config: DemoConfig) -> Predictor | None:
    """Return the predictor of a choice; if it cannot be opened, show the error and return None."""
    try:
        return open_predictor(choice, config)
    except HalnetError as error:
        show_error(error)
        return None
