"""One photo through every model and runtime: the ages side by side."""

from typing import Any

import pandas as pd
import streamlit as st

from halnet.demo.models import Choice, open_predictor
from halnet.demo.photo import ask_photo, drawn
from halnet.demo.settings import Settings
from halnet.errors import HalnetError
from halnet.faces import DetectedFace
from halnet.images import Image
from halnet.results import Face

REFERENCE = "pytorch"  # that the others are compared with, where it is installed


def show(settings: Settings) -> None:
    """Draw the mode."""
    image = ask_photo("compare", "A photo to compare")
    if image is None:
        return
    order = sorted(settings.choices, key=lambda choice: choice.runtime != REFERENCE)
    with st.spinner("Running every model on every runtime"):
        rows, faces = _run_all(image, order, settings)
    if not rows:
        return
    years = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        column_config={"age, years": years, "difference, years": years},
    )
    ages = [row["age, years"] for row in rows if row["age, years"] is not None]
    if len(ages) > 1:
        st.caption(
            f"The largest face. Differences are from the first line; between the least and the "
            f"greatest age lie {max(ages) - min(ages):.3f} years."
        )
    if faces:
        st.image(drawn(image, faces, settings.level), width=420)


def _run_all(
    image: Image, choices: list[Choice], settings: Settings
) -> tuple[list[dict[str, Any]], list[Face]]:
    """Return a line for each choice, and the faces by the first that runs."""
    rows: list[dict[str, Any]] = []
    detected: tuple[DetectedFace, ...] | None = None
    first: list[Face] = []
    for choice in choices:
        row: dict[str, Any] = {"runtime": choice.runtime}
        try:
            predictor = open_predictor(choice, settings.config)
            if detected is None:
                detected = predictor.detect(image)[:1]
                if not detected:
                    st.warning("No face was found.")
                    return [], []
            faces = predictor.predict_faces(image, detected)
        except HalnetError as error:
            values = (None, None, None, None, choice.model)
            rows.append({**row, **dict(zip(COLUMNS, values, strict=True)), "problem": str(error)})
            continue
        first = first or faces
        low, high = faces[0].interval(settings.level)
        found = (
            round(faces[0].age, 3),
            round(faces[0].age - first[0].age, 3),
            f"{low:.1f} to {high:.1f}",
            predictor.spec.metadata.precision,
            choice.model,
        )
        rows.append({**row, **dict(zip(COLUMNS, found, strict=True)), "problem": ""})
    if all(not row["problem"] for row in rows):
        rows = [{k: v for k, v in row.items() if k != "problem"} for row in rows]
    return rows, first


COLUMNS = ("age, years", "difference, years", "interval", "precision", "model")
