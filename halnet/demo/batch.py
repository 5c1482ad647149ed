"""The mode for many photos: a table of faces, a list of photos without a result, a CSV file."""

import base64
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from halnet.batches import PhotoResult
from halnet.demo.models import Choice, open_or_report
from halnet.demo.settings import Settings
from halnet.demo.widgets import NUMBER_FORMATS, PHOTO_TYPES, count_text, face_row
from halnet.errors import ImageError
from halnet.faces.photo_view import PhotoView
from halnet.photos.images import Image, encode_image
from halnet.predictor import Predictor
from halnet.result_files import NO_FACE, model_name, to_csv

THUMBNAIL_SIDE = 64  # pixels
BATCH = "batch"  # key of the Batch in the session of the user


@dataclass(frozen=True)
class UploadResult:
    """The result of one uploaded photo."""

    photo: PhotoResult
    thumbnails: list[str]  # data URL of a JPEG for each face, in the order of the faces


@dataclass
class Batch:
    """The results of the uploads that were processed so far."""

    choice: Choice  # the model and runtime that made the results
    results: dict[str, UploadResult] = field(default_factory=dict)  # by the ID of the upload


def show(settings: Settings) -> None:
    """Draw the mode."""
    predictor = open_or_report(settings.choice, settings.config)
    if predictor is None:
        return
    files = st.file_uploader("Photos", PHOTO_TYPES, accept_multiple_files=True, key="batch upload")
    if not files:
        st.session_state.pop(BATCH, None)
        return
    batch: Batch | None = st.session_state.get(BATCH)
    if batch is None or batch.choice != settings.choice:
        batch = st.session_state[BATCH] = Batch(settings.choice)
    _update(batch, predictor, files)
    results = [batch.results[file.file_id] for file in files]
    _show_results(results, settings.level, model_name(predictor.spec))


def _update(batch: Batch, predictor: Predictor, files: list[Any]) -> None:
    """Add the results of new uploads, and remove the results of uploads that were removed.

    Each result is added at once, because a click of the user interrupts this run of the page.
    """
    for removed in batch.results.keys() - {file.file_id for file in files}:
        del batch.results[removed]
    waiting = [file for file in files if file.file_id not in batch.results]
    if not waiting:
        return
    bar = st.progress(0.0)
    for index, file in enumerate(waiting, 1):
        batch.results[file.file_id] = _predict(predictor, file)
        bar.progress(index / len(waiting), f"{index} of {len(waiting)} photos")
    bar.empty()


def _predict(predictor: Predictor, file: Any) -> UploadResult:
    name: str = file.name
    try:
        view = PhotoView(file.getvalue(), name=name)
        faces = predictor(view)
    except ImageError as error:
        return UploadResult(PhotoResult(name, [], str(error)), [])
    crops = view.crops([face.landmarks for face in faces]) if faces else ()
    return UploadResult(PhotoResult(name, faces), [_thumbnail(crop) for crop in crops])


def _thumbnail(crop: Image) -> str:
    """Return the data URL of a JPEG that shows the crop of a face."""
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    data = encode_image(np.asarray(small, np.uint8), ".jpg")
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _show_results(results: list[UploadResult], level: float, model: str) -> None:
    photos = [result.photo for result in results]
    failed = [photo for photo in photos if not photo.faces]
    faces = sum(len(photo.faces) for photo in photos)
    st.write(
        f"{count_text(len(photos), 'photo')}, {count_text(faces, 'face')}, "
        f"{count_text(len(failed), 'photo')} without a result."
    )
    if faces:
        _show_faces(results, level)
    st.download_button(
        "Download CSV",
        to_csv(photos, level, model),
        "ages.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )
    if failed:
        st.subheader("Photos without a result")
        reasons = [
            {
                "photo": str(photo.photo),
                "reason": (photo.error or NO_FACE).removeprefix(f"{photo.photo}: "),
            }
            for photo in failed
        ]
        st.dataframe(pd.DataFrame(reasons), hide_index=True, width="stretch")


def _show_faces(results: list[UploadResult], level: float) -> None:
    rows = [
        {"face": thumbnail, "photo": str(result.photo.photo), **face_row(face, level)}
        for result in results
        for thumbnail, face in zip(result.thumbnails, result.photo.faces, strict=True)
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        width="stretch",
        row_height=THUMBNAIL_SIDE,
        column_config={"face": st.column_config.ImageColumn(width="small"), **NUMBER_FORMATS},
    )
