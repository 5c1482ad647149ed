"""Many photos: a table with a line a face, what failed and why, and a CSV file."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import streamlit as st

from halnet.alignment import align
from halnet.batches import PhotoResult
from halnet.demo.models import Choice, ready
from halnet.demo.photo import TYPES
from halnet.demo.settings import Settings
from halnet.errors import ImageError
from halnet.images import Image, encode_image, load_image
from halnet.predictor import Predictor
from halnet.result_files import NO_FACE, model_name, to_csv, to_rows
from halnet.results import Face

THUMBNAIL = 64  # pixels
RESULTS = "batch results"  # in the session: what became of each upload


def show(settings: Settings) -> None:
    """Draw the mode."""
    predictor = ready(settings.choice, settings.config)
    if predictor is None:
        return
    files = st.file_uploader("Photos", TYPES, accept_multiple_files=True, key="batch")
    if not files:
        st.session_state.pop(RESULTS, None)
        return
    kept: Kept | None = st.session_state.get(RESULTS)
    if kept is None or kept.choice != settings.choice:
        kept = st.session_state[RESULTS] = Kept(settings.choice)
    _predict_all(predictor, files, kept)
    done = [kept.done[file.file_id] for file in files]
    _show_results(done, settings.level, model_name(predictor.spec))


Done = tuple[PhotoResult, list[str]]  # and a thumbnail of each face


@dataclass
class Kept:
    """What became of the uploads so far."""

    choice: Choice  # that made it
    done: dict[str, Done] = field(default_factory=dict)  # by the number of the upload


def _predict_all(predictor: Predictor, files: list[Any], kept: Kept) -> None:
    """Keep the result of each file that has none yet; forget those that are there no more.

    Each is kept as soon as it is done: a click in the middle starts the page anew.
    """
    for gone in kept.done.keys() - {file.file_id for file in files}:
        del kept.done[gone]
    waiting = [file for file in files if file.file_id not in kept.done]
    if not waiting:
        return
    bar = st.progress(0.0)
    for index, file in enumerate(waiting, 1):
        kept.done[file.file_id] = _predict(predictor, file)
        bar.progress(index / len(waiting), f"{index} of {len(waiting)} photos")
    bar.empty()


def _predict(predictor: Predictor, file: Any) -> Done:
    name = Path(file.name)
    try:
        image = load_image(file.getvalue(), name=file.name)
    except ImageError as error:
        return PhotoResult(name, [], str(error)), []
    faces = predictor(image)
    return PhotoResult(name, faces), [_thumbnail(image, face) for face in faces]


def _thumbnail(image: Image, face: Face) -> str:
    """Return a face as the address of a JPEG that is its own content."""
    small = cv2.resize(
        align(image, face.landmarks), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA
    )
    data = encode_image(np.asarray(small, np.uint8), ".jpg")
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def _show_results(done: list[Done], level: float, model: str) -> None:
    results = [result for result, _ in done]
    faces = sum(len(result.faces) for result in results)
    failed = [result for result in results if not result.faces]
    counts = (len(results), "photo"), (faces, "face"), (len(failed), "photo")
    texts = [f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts]
    st.write(f"{', '.join(texts)} without a result.")
    lines = [
        {**row, "face": thumbnail}
        for result, thumbnails in done
        for thumbnail, row in zip(thumbnails, to_rows(result, level, model), strict=False)
    ]
    if lines:
        columns = ["face", "photo", "age", "low", "high", "score"]
        st.dataframe(
            pd.DataFrame(lines)[columns],
            hide_index=True,
            width="stretch",
            row_height=THUMBNAIL,
            column_config={
                "face": st.column_config.ImageColumn("face", width="small"),
                "age": st.column_config.NumberColumn("age, years", format="%.1f"),
                "low": st.column_config.NumberColumn(f"{level:.0%} from", format="%.1f"),
                "high": st.column_config.NumberColumn("to", format="%.1f"),
                "score": st.column_config.NumberColumn("detection", format="%.2f"),
            },
        )
    st.download_button(
        "Download CSV",
        to_csv(results, level, model),
        "ages.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )
    if failed:
        st.subheader("Without a result")
        reasons = [
            {"photo": str(r.photo), "reason": (r.error or NO_FACE).removeprefix(f"{r.photo}: ")}
            for r in failed
        ]
        st.dataframe(pd.DataFrame(reasons), hide_index=True, width="stretch")
