"""Crops of a folder: the crops of the faces in a user's own photos, to calibrate INT8 on."""

import glob
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from halnet.batches import predict_photos
from halnet.calibration.crops import (
    MIN_PHOTOS,
    CalibrationCrops,
    check_count,
    describe_origin,
    pick_records,
)
from halnet.calibration.validation_photos import SPLIT
from halnet.datasets.collection import DataCollection
from halnet.datasets.crop_hash import describe_crop, hash_description
from halnet.datasets.record import Record
from halnet.datasets.twins import find_twins_between
from halnet.errors import ConfigError
from halnet.faces.alignment import MARGIN, align
from halnet.network.checkpoint import Checkpoint
from halnet.photos.images import load_image
from halnet.photos.photo_files import find_photos
from halnet.predictor import Predictor
from halnet.results import Face
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.pytorch import PyTorchRuntime

PHOTOS_PER_CROP = 4  # photos of a folder to choose each crop from, so that ages are balanced


def find_calibration_crops(
    folder: Path,
    checkpoint: Checkpoint,
    count: int,
    seed: int = 0,
    detector: Path | None = None,
    data: DataCollection | None = None,
) -> CalibrationCrops:
    """Return up to `count` crops, one of the largest face in each of a folder's photos.

    They are balanced over decades of the ages that the checkpoint predicts. `folder` may also be a
    pattern, such as "photos/*.jpg". `detector` is a local YuNet file. Copies of the test photos of
    `data`, on which results are reported, are left out, whatever their names; `left_out` of the
    result counts them.

    Raises DatasetError where there are too few faces, or too few decades of age among them;
    ConfigError where the folder has no photos; DetectorError where YuNet cannot be loaded.
    """
    check_count(count, str(folder))
    if not folder.exists() and not glob.has_magic(str(folder)):
        raise ConfigError(
            f"{folder}: expected a folder of photos to calibrate on, found no such folder; name "
            "another one with --calibration"
        )
    photos = find_photos([folder])
    order = np.random.default_rng(seed).permutation(len(photos))[: PHOTOS_PER_CROP * count]
    tried = [photos[i] for i in order]
    faces: dict[Path, Face] = {}
    runtime = PyTorchRuntime(checkpoint, RuntimeOptions(device="cpu"))
    with Predictor(runtime, detector=detector) as predictor:
        for photo, result in zip(tried, predict_photos(predictor, tried), strict=True):
            if result.faces:  # a photo that cannot be read has no faces either
                faces[photo] = result.faces[0]
    copies = _find_copies(faces, data) if data is not None else set()
    root = folder if folder.is_dir() else Path(os.path.commonpath([p.parent for p in photos]))
    by_name = {Path(os.path.relpath(p, root)).as_posix(): p for p in faces if p not in copies}
    found = [
        Record(name, int(faces[photo].age), int(faces[photo].age), split=SPLIT)
        for name, photo in by_name.items()
    ]
    records = pick_records(found, min(count, max(len(found), MIN_PHOTOS)), seed, str(folder))
    chosen = [by_name[record.source] for record in records]
    crops = np.stack([align(load_image(photo), faces[photo].landmarks) for photo in chosen])
    origin = describe_origin(f"photos in {root.resolve().name}", seed, records)
    return CalibrationCrops(crops, origin, left_out=len(copies))


def _find_copies(faces: Mapping[Path, Face], data: DataCollection) -> set[Path]:
    """Return the photos that are copies of a test photo of one of the datasets."""
    tested = [
        (part, row)
        for part in data.sets.values()
        for row, record in enumerate(part.records)
        if record.split == "test"
    ]
    photos = list(faces)
    own = [describe_crop(align(load_image(p), faces[p].landmarks, MARGIN)) for p in photos]
    hashes = [*map(hash_description, own), *(int(part.hashes[row]) for part, row in tested)]

    def describe(index: int) -> NDArray[np.float32]:
        if index < len(own):
            return own[index]
        part, row = tested[index - len(own)]
        return describe_crop(part.crop(part.records[row]))

    numbers = range(len(own)), range(len(own), len(hashes))
    pairs = find_twins_between(np.array(hashes, np.uint64), *numbers, describe)
    return {photos[i] for i, _ in pairs}
