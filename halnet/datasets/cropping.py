"""Cropping: find the face in each photo of a dataset and write its aligned crop.

The photos are processed as in prediction, with the same detector and the same template. The
landmarks of a dataset only measure the error of the detected landmarks. In a photo with several
faces, the face with the smallest error is used. If even that error is large, the photo is rejected.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.datasets.crop_hash import hash_crop
from halnet.datasets.prepared_dataset import crop_path
from halnet.datasets.source_photo import RejectedPhoto, SourceItem, age_text
from halnet.errors import DatasetError, ImageError
from halnet.faces.alignment import MARGIN
from halnet.faces.photo_view import PhotoView
from halnet.faces.yunet import FaceDetector
from halnet.files import replacing
from halnet.parallel import map_in_order
from halnet.photos.images import Image, encode_image

CHUNK = 16  # number of photos that a worker process takes at a time
QUEUE = 8  # number of chunks for each worker that are under way, so that memory stays flat
# In eye distances. If the error is larger, the dataset's landmarks belong to another face.
MAX_LANDMARK_ERROR = 0.5


@dataclass(frozen=True, slots=True)
class PreparedPhoto:
    """The result for one photo: its face, or the reason why the photo was rejected."""

    source: str  # path relative to the folder of the dataset
    age_low: int = -1  # years, as the dataset states it; -1 if it states no valid age
    age_high: int = -1
    sex: str = ""  # "female", "male" or ""
    person: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    split: str = ""  # "train", "val" or "test" if the dataset states it
    score: float | None = None  # confidence of the detection, 0 to 1
    faces: int = 0  # number of faces in the photo
    landmark_error: float | None = None  # in eye distances; None without landmarks to compare with
    width: int = 0  # pixels of the photo
    height: int = 0
    eye_distance: float | None = None  # pixels of the photo
    landmarks: str = ""  # "x y x y x y x y x y" in pixels, in the order of alignment.TEMPLATE
    hash: str = ""  # of the crop, as 16 hexadecimal digits
    reject: str = ""  # why the photo was rejected; empty if it was not
    invalid_age: str = ""  # text of the dataset in place of a valid age

    @property
    def age(self) -> str:
        """The age as the dataset states it, such as "30" or "3-9"."""
        return self.invalid_age if self.age_low < 0 else age_text(self.age_low, self.age_high)


def crop_photos(
    source: Path, out: Path, photos: Iterable[SourceItem], model: Path, workers: int
) -> Iterator[PreparedPhoto]:
    """Write the crops of all photos into the prepared folder `out`, and yield the results in order.

    `source` is the folder of the dataset, `model` the YuNet file, and `workers` the number of
    processes. Photos are read from the iterable as they are needed. Raises DatasetError if a
    process is killed.
    """
    crop = partial(crop_photo, source, out, model)
    if workers == 1:
        _start_worker()
        yield from map(crop, photos)
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start_worker, (True,)
    )
    remaining = iter(photos)
    chunks = iter(lambda: list(islice(remaining, CHUNK)), [])
    try:
        for results in map_in_order(pool, partial(_crop_chunk, crop), chunks, QUEUE * workers):
            yield from results
    except BrokenProcessPool as error:
        raise DatasetError(
            "expected all worker processes to finish, found that one was killed, perhaps because "
            "memory ran out; run the same command again, with fewer --workers"
        ) from error


def _crop_chunk(
    crop: Callable[[SourceItem], PreparedPhoto], chunk: list[SourceItem]
) -> list[PreparedPhoto]:
    return list(map(crop, chunk))


def crop_photo(source: Path, out: Path, model: Path, photo: SourceItem) -> PreparedPhoto:
    """Write the crop of one photo, 256 x 256 RGB as PNG, unless the photo is rejected."""
    if isinstance(photo, RejectedPhoto):
        return PreparedPhoto(photo.source, reject=photo.reason, invalid_age=photo.age)
    result = PreparedPhoto(
        photo.source,
        photo.age_low,
        photo.age_high,
        photo.sex,
        photo.person,
        dict(photo.groups),
        photo.split,
    )
    try:
        view = PhotoView(source / photo.source)
        faces = view.detect(_detector(model))
        expected = None if photo.read_landmarks is None else _checked(photo.read_landmarks())
    except (ImageError, DatasetError) as error:
        reason = str(error).replace(f"{source}/", "").removeprefix(f"{photo.source}: ")
        return replace(result, reject=reason)
    width, height = view.size
    result = replace(result, width=width, height=height)
    if not faces:
        return replace(result, reject="no face found")
    face, distance = faces[0], None
    if expected is not None:
        errors = [landmark_error(candidate.landmarks, expected) for candidate in faces]
        distance = round(min(errors), 4)
        face = faces[errors.index(min(errors))]
    result = replace(result, score=round(face.score, 4), faces=len(faces), landmark_error=distance)
    if distance is not None and distance > MAX_LANDMARK_ERROR:
        return replace(result, reject="no detected face is the annotated one")
    (crop,) = view.crops([face.landmarks], MARGIN)
    _write_crop(crop_path(out, photo.source), crop)
    left, right = face.landmarks[:2].astype(float)
    return replace(
        result,
        eye_distance=round(float(np.linalg.norm(left - right)), 2),
        landmarks=" ".join(f"{value:.2f}" for value in face.landmarks.ravel()),
        hash=f"{hash_crop(crop):016x}",
    )


def _checked(landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the landmarks of a dataset. Raises DatasetError if they cannot be those of a face."""
    if not np.isfinite(landmarks).all() or (landmarks[0] == landmarks[1]).all():
        raise DatasetError("the landmarks of the dataset are not those of a face")
    return landmarks


def landmark_error(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the mean distance between 5 x 2 landmarks, in eye distances of the expected ones."""
    distances = np.linalg.norm(np.asarray(found, float) - expected, axis=1)
    return float(distances.mean() / np.linalg.norm(expected[0] - expected[1]))


def _start_worker(ignore_interrupt: bool = False) -> None:
    if ignore_interrupt:  # Ctrl-C stops the main process, which then stops its workers
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    # With one thread, the same sums are computed in the same order.
    cv2.setNumThreads(1)


@cache
def _detector(model: Path) -> FaceDetector:
    """Return the detector of this process. It cannot be pickled."""
    return FaceDetector(model, threads=1)


def _write_crop(path: Path, crop: Image) -> None:
    # The file is lossless: a JPEG of quality 95 changed predicted ages by 0.4 years on average.
    data = encode_image(crop, ".png")
    with replacing(path) as temporary:
        temporary.write_bytes(data)
