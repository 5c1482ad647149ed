"""The mode that compares models and runtimes: the ages of one face side by side."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from halnet.demo.models import Choice, open_predictor
from halnet.demo.settings import Settings
from halnet.demo.widgets import AGE, NO_FACE_FOUND, ask_photo, draw_photo, interval_head
from halnet.errors import HalnetError
from halnet.faces.detected import DetectedFace
from halnet.faces.photo_view import PhotoView
from halnet.results import Face

REFERENCE = "pytorch"  # this runtime comes first, so that the others are compared with it
DIFFERENCE, PROBLEM = "difference, years", "problem"  # heads of columns


@dataclass(frozen=True)
class _Result:
    """The result of one choice: either a face with the precision of the model, or a problem."""

    choice: Choice
    face: Face | None = None
    precision: str = ""
    problem: str = ""


def show(settings: Settings) -> None:
    """Draw the mode."""
    st.caption("Every model predicts the age of the largest face on every installed runtime.")
    view = ask_photo("compare", "Photo to compare")
    if view is None:
        return
    with st.spinner("Running every model on every runtime"):
        results = _run_all(view, settings)
    if not results:
        st.warning(NO_FACE_FOUND)
        return
    years = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(
        pd.DataFrame(_rows(results, settings.level)),
        hide_index=True,
        width="stretch",
        height="content",
        column_config={AGE: years, DIFFERENCE: years},
    )
    faces = [result.face for result in results if result.face]
    if len(faces) > 1:
        ages = [face.age for face in faces]
        st.caption(
            "Each difference is the age minus the age in the first row. The lowest and the "
            f"highest age differ by {max(ages) - min(ages):.3f} years."
        )
    if faces:
        st.image(draw_photo(view.image(), faces[:1], settings.level), width=420)


def _run_all(view: PhotoView, settings: Settings) -> list[_Result]:
    """Return the result of each choice for the largest face; an empty list if there is no face."""
    choices = sorted(settings.choices, key=lambda choice: choice.runtime != REFERENCE)
    results: list[_Result] = []
    detected: tuple[DetectedFace, ...] | None = None
    for choice in choices:
        try:
            predictor = open_predictor(choice, settings.config)
            if detected is None:
                detected = predictor.detect(view)[:1]
            faces = predictor.predict_faces(view, detected)
        except HalnetError as error:
            results.append(_Result(choice, problem=str(error)))
            continue
        if not faces:
            return []
        results.append(_Result(choice, faces[0], predictor.spec.metadata.precision))
    return results


def _rows(results: list[_Result], level: float) -> list[dict[str, Any]]:
    """Return the rows of the table. The column of problems is left out if there are none."""
    first = next((result.face for result in results if result.face), None)
    problems = any(result.problem for result in results)
    rows = []
    for result in results:
        age = difference = interval = None
        if result.face and first:
            low, high = result.face.interval(level)
            age = round(result.face.age, 3)
            difference = round(result.face.age - first.age, 3) + 0.0  # no negative zero
            interval = f"{low:.1f} to {high:.1f}"
        row = {
            "runtime": result.choice.runtime,
            "precision": result.precision,
            AGE: age,
            DIFFERENCE: difference,
            interval_head(level): interval,
            "model": result.choice.model,
        }
        rows.append({**row, PROBLEM: result.problem} if problems else row)
    return rows
