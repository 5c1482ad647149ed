"""The mode for one photo: all faces with their ages, and details about one of the faces."""

import pandas as pd
import streamlit as st

from halnet.ages import LEGAL_AGE
from halnet.demo.charts import age_chart, describe
from halnet.demo.models import open_or_report
from halnet.demo.settings import Settings
from halnet.demo.widgets import (
    NO_FACE_FOUND,
    NUMBER_FORMATS,
    ask_photo,
    count_text,
    draw_photo,
    face_row,
    interval_head,
)
from halnet.faces.photo_view import PhotoView
from halnet.results import Face


def show(settings: Settings) -> None:
    """Draw the mode."""
    predictor = open_or_report(settings.choice, settings.config)
    if predictor is None:
        return
    view = ask_photo("photo", "Photo")
    if view is None:
        return
    with st.spinner("Finding faces and predicting their ages"):
        faces = predictor(view)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.image(
            draw_photo(view.image(), faces, settings.level),
            caption=f"{count_text(len(faces), 'face')}. Runtime: {settings.choice.runtime}.",
            width="stretch",
        )
    with right:
        if not faces:
            st.warning(NO_FACE_FOUND)
            return
        _show_face(view, _choose_face(faces), settings.level)
    if len(faces) > 1:
        _show_table(faces, settings.level)


def _choose_face(faces: list[Face]) -> Face:
    if len(faces) == 1:
        return faces[0]
    names = [f"Face {number}: {face.age:.0f} years" for number, face in enumerate(faces, 1)]
    index = st.selectbox(
        "Face (the largest is number 1)", range(len(faces)), format_func=names.__getitem__
    )
    return faces[index or 0]


def _show_face(view: PhotoView, face: Face, level: float) -> None:
    low, high = face.interval(level)
    with st.container(horizontal=True):
        st.metric("Age, years", f"{face.age:.1f}")
        st.metric(interval_head(level), f"{low:.0f} to {high:.0f}")
    st.altair_chart(age_chart(face, level), width="stretch")
    st.caption(describe(face, level))
    (crop,) = view.crops([face.landmarks])
    st.image(crop, caption="Input of the model", width=160)


def _show_table(faces: list[Face], level: float) -> None:
    rows = [
        {
            "face": number,
            **face_row(face, level),
            f"{LEGAL_AGE} or older, %": round(100 * face.probability(at_least=LEGAL_AGE)),
            "face width, pixels": round(face.box[2]),
        }
        for number, face in enumerate(faces, 1)
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", column_config=NUMBER_FORMATS)
