"""One photo: every face with its age, and of one the distribution and the crop."""

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from halnet.alignment import align
from halnet.demo.charts import age_chart, describe
from halnet.demo.models import ready
from halnet.demo.settings import Settings
from halnet.drawing import draw_faces
from halnet.errors import ImageError
from halnet.images import SUFFIXES, Image, load_image
from halnet.results import Face

TYPES = [*sorted(suffix.removeprefix(".") for suffix in SUFFIXES), "heic"]
SHOWN = 1600  # pixels: the longer side of a photo on the page
UPLOAD, CAMERA = "Upload", "Camera"


def show(settings: Settings) -> None:
    """Draw the mode."""
    predictor = ready(settings.choice, settings.config)
    if predictor is None:
        return
    image = ask_photo("photo", "A photo")
    if image is None:
        return
    with st.spinner("Looking for faces"):
        faces = predictor(image)
    left, right = st.columns([3, 2], gap="large")
    with left:
        count = f"{len(faces)} face{'' if len(faces) == 1 else 's'}"
        st.image(
            drawn(image, faces, settings.level),
            caption=f"{count}, on {settings.choice.runtime}",
            width="stretch",
        )
    with right:
        if not faces:
            st.warning("No face was found. A face is found best when it is seen from the front.")
            return
        _show_face(image, _choose(faces), settings.level)
    if len(faces) > 1:
        st.dataframe(_table(faces, settings.level), hide_index=True, width="stretch")


def ask_photo(key: str, label: str) -> Image | None:
    """Return a photo that the user uploads or takes; None until there is a good one."""
    way = st.radio("Photo from", [UPLOAD, CAMERA], horizontal=True, key=f"{key} from")
    if way == UPLOAD:
        file = st.file_uploader(label, TYPES, key=f"{key} upload")
    else:
        file = st.camera_input("Take a photo", key=f"{key} camera")
    if file is None:
        return None
    try:
        return load_image(file.getvalue(), name=file.name)
    except ImageError as error:
        st.error(str(error), icon=":material/error:")
        return None


def drawn(image: Image, faces: list[Face], level: float) -> Image:
    """Return a photo with its faces, no larger than a page can show."""
    canvas = draw_faces(image, faces, level)
    scale = SHOWN / max(canvas.shape[:2])
    if scale >= 1:
        return canvas
    small = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _choose(faces: list[Face]) -> Face:
    if len(faces) == 1:
        return faces[0]
    names = [f"Face {i}: {face.age:.0f} years" for i, face in enumerate(faces, 1)]
    index = st.selectbox(
        "Face, the largest first", range(len(faces)), format_func=names.__getitem__
    )
    return faces[index or 0]


def _show_face(image: Image, face: Face, level: float) -> None:
    low, high = face.interval(level)
    age, interval = st.columns(2)
    age.metric("Age, years", f"{face.age:.1f}")
    interval.metric(f"{level:.0%} interval, years", f"{low:.0f} to {high:.0f}")
    st.altair_chart(age_chart(face, level), width="stretch")
    adult = face.probability(at_least=18)
    st.caption(f"{describe(face, level)}. Probability to be 18 or older: {adult:.0%}.")
    st.image(align(image, face.landmarks), caption="What the model saw", width=160)


def _table(faces: list[Face], level: float) -> pd.DataFrame:
    rows = []
    for index, face in enumerate(faces, 1):
        low, high = face.interval(level)
        rows.append(
            {
                "face": index,
                "age": round(face.age, 1),
                "from": round(low, 1),
                "to": round(high, 1),
                "18 or older, %": round(100 * face.probability(at_least=18)),
                "width, pixels": round(face.box[2]),
                "detection": round(face.score, 2),
            }
        )
    return pd.DataFrame(rows)
