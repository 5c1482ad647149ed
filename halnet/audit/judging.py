"""Judging: runs the model of a report, and asks of each photo whether a check could use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from halnet.checks.check import NO_FACE, NOT_UPRIGHT, SEVERAL_FACES, find_problems
from halnet.checks.reasons import REASONS, find_reasons
from halnet.datasets.prepared_dataset import BATCH, OnProgress
from halnet.datasets.record import Record
from halnet.errors import ImageError
from halnet.evaluation.accuracy import OpenedModel
from halnet.faces.alignment import TEMPLATE, Landmarks
from halnet.faces.quality import Quality, measure_quality
from halnet.results import Ages, Face, Outputs, join_outputs

OF_CROPS = tuple(reason.name for reason in REASONS)  # why a check refuses a face
# why a check gives no result for a photo
OF_PHOTOS = (NO_FACE, SEVERAL_FACES, NOT_UPRIGHT, *OF_CROPS)

Reasons = tuple[str, ...] | None  # of one photo, empty if a check can use it; None: not known


@dataclass(frozen=True, eq=False)
class JudgedPhotos:
    """The photos of a report, of which some have no face."""

    asked: tuple[Record, ...]
    reasons: tuple[Reasons, ...]  # why a check gives no result, for each of `asked`
    has_face: tuple[bool, ...]  # for each of `asked`
    outputs: Outputs  # of those with a face, in order
    looked_for: tuple[str, ...]  # all reasons that were looked for

    @property
    def records(self) -> tuple[Record, ...]:
        """The photos with a face, in the order of `outputs`."""
        return tuple(
            record for record, found in zip(self.asked, self.has_face, strict=True) if found
        )

    @property
    def reasons_of_faces(self) -> tuple[Reasons, ...]:
        """The reasons of the photos with a face, in the order of `outputs`."""
        pairs = zip(self.reasons, self.has_face, strict=True)
        return tuple(reasons for reasons, found in pairs if found)


def judge_crops(opened: OpenedModel, on_progress: OnProgress) -> JudgedPhotos:
    """Run a model on the prepared crops.

    The quality of a face is measured from its crop and from what the index states of its photo. For
    the index of an older version, which does not state the landmarks, the reasons are not known.
    Raises DatasetError if a crop is missing or damaged.
    """
    records = opened.records
    parts: list[Ages] = []
    reasons: list[Reasons] = []
    for start in range(0, len(records), BATCH):
        batch = records[start : start + BATCH]
        crops = opened.data.inner_crops(batch)
        ages = opened.predictor.predict_crops(crops)
        parts.append(ages)
        for place, record in enumerate(batch):
            quality = _measure(crops[place], record)
            if quality is None:
                reasons.append(None)
            else:
                found = find_reasons(quality, _face(ages, place, _landmarks(record), quality.score))
                reasons.append(tuple(finding.name for finding in found))
        on_progress(start + len(batch), len(records))
    return JudgedPhotos(
        records, tuple(reasons), (True,) * len(records), join_outputs(parts), OF_CROPS
    )


def judge_photos(
    opened: OpenedModel, folders: dict[str, Path], on_progress: OnProgress
) -> JudgedPhotos:
    """Run a model on the largest face of each original photo, and measure its quality.

    `folders` has the folder of each dataset by its name, and the predictor of `opened` measures the
    quality of faces. As in a check, a photo with several faces
    has this reason alone. Raises ImageError if a photo cannot be read, or if no photo has a face.
    """
    records = opened.records
    faces: list[Face] = []
    reasons: list[Reasons] = []
    for done, record in enumerate(records, 1):
        found = opened.predictor(folders[record.dataset] / record.source)
        why, _ = find_problems(found)
        faces += found[:1]
        reasons.append(why)
        on_progress(done, len(records))
    if not faces:
        where = ", ".join(map(str, folders.values()))
        raise ImageError(
            f"{where}: expected photos of faces, found no face in any of {len(records)} photos; "
            "name with --photos the folders of the original photos"
        )
    outputs = Outputs(
        np.array([face.age for face in faces], np.float32),
        np.array([face.stddev for face in faces], np.float32),
        np.stack([face.probabilities for face in faces]),
    )
    has_face = tuple(why is None or NO_FACE not in why for why in reasons)
    return JudgedPhotos(records, tuple(reasons), has_face, outputs, OF_PHOTOS)


def _measure(crop: np.ndarray, record: Record) -> Quality | None:
    """Return the quality of a prepared face, or None if the index does not state what it needs."""
    if len(record.landmarks) != 2 * len(TEMPLATE) or not (record.width and record.height):
        return None
    size = record.width, record.height
    return measure_quality(crop, _landmarks(record), size, float(record.score or 0))


def _landmarks(record: Record) -> Landmarks:
    return np.array(record.landmarks, np.float32).reshape(len(TEMPLATE), 2)


def _face(ages: Ages, place: int, landmarks: Landmarks, score: float) -> Face:
    """Return one of the ages as a face, whose box is not known."""
    return Face(
        age=float(ages.age[place]),
        stddev=float(ages.stddev[place]),
        probabilities=ages.probabilities[place],
        box=(0.0, 0.0, 1.0, 1.0),
        landmarks=landmarks,
        score=score,
        calibration=ages.calibration,
    )


def count_faceless(judged: JudgedPhotos) -> dict[str, tuple[int, int]]:
    """Return for each dataset the number of photos without a face, and of all photos."""
    found: dict[str, tuple[int, int]] = {}
    for record, has_face in zip(judged.asked, judged.has_face, strict=True):
        missed, total = found.get(record.dataset, (0, 0))
        found[record.dataset] = missed + (not has_face), total + 1
    return found


def find_refused(reasons: Sequence[Reasons]) -> tuple[np.ndarray, np.ndarray]:
    """Return which of N photos a check refuses, and of which it is known whether it does."""
    known = np.array([why is not None for why in reasons], bool)
    return np.array([bool(why) for why in reasons], bool), known
