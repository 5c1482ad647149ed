"""Widgets: the parts of the page that several modes share."""

from typing import Any

import cv2
import numpy as np
import streamlit as st

from halnet.drawing import draw_faces
from halnet.errors import HalnetError, ImageError
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import SUFFIXES, Image
from halnet.results import Face

# HEIC can be uploaded even if it cannot be read: the error message then names the cure.
PHOTO_TYPES = sorted(suffix.removeprefix(".") for suffix in SUFFIXES)
MAX_SIDE = 1600  # pixels: the longer side of a photo on the page
NO_FACE_FOUND = (
    "No face was found in this photo. Try a photo that shows a larger face from the front."
)
UPLOAD, CAMERA = "Upload", "Camera"
AGE, SCORE = "age, years", "detection score"  # heads of columns
NUMBER_FORMATS = {
    AGE: st.column_config.NumberColumn(format="%.1f"),
    SCORE: st.column_config.NumberColumn(format="%.2f"),
}


def ask_photo(key: str, label: str) -> PhotoView | None:
    """Let the user upload or take a photo, and return it.

    Returns None as long as there is no photo. If the photo cannot be read, the error is shown.
    """
    source = st.radio("Photo source", [UPLOAD, CAMERA], horizontal=True, key=f"{key} source")
    if source == UPLOAD:
        file = st.file_uploader(label, PHOTO_TYPES, key=f"{key} upload")
    else:
        file = st.camera_input("Take a photo", key=f"{key} camera")
    if file is None:
        return None
    try:
        view = PhotoView(file.getvalue(), name=file.name)
        view.image()  # which is an error if the photo is damaged
        return view
    except ImageError as error:
        show_error(error)
        return None


def show_error(error: HalnetError) -> None:
    """Show the message of an error."""
    st.error(str(error), icon=":material/error:")


def draw_photo(image: Image, faces: list[Face], level: float) -> Image:
    """Return a copy of an H x W x 3 uint8 RGB photo with boxes, ages and intervals.

    The longer side of the copy has at most MAX_SIDE pixels.
    """
    canvas = draw_faces(image, faces, level)
    scale = MAX_SIDE / max(canvas.shape[:2])
    if scale >= 1:
        return canvas
    small = cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def face_row(face: Face, level: float) -> dict[str, Any]:
    """Return the cells that a table shows for a face; NUMBER_FORMATS has their formats."""
    low, high = face.interval(level)
    return {
        AGE: face.age,
        interval_head(level): f"{low:.1f} to {high:.1f}",
        SCORE: face.score,
    }


def interval_head(level: float) -> str:
    """Return the head of a column with intervals, such as "90% interval, years"."""
    return f"{level:.0%} interval, years"


def count_text(count: int, noun: str) -> str:
    """Return a count with its noun, such as "1 face" or "2 faces"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
