"""Samples: the crops that INT8 ranges and errors are measured on, and where they came from."""

from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from halnet.alignment import align
from halnet.batches import find_photos, predict_photos
from halnet.datasets.prepared_dataset import PreparedDataset, Record
from halnet.errors import DatasetError
from halnet.images import load_image
from halnet.network.checkpoint import Checkpoint
from halnet.predictor import Predictor
from halnet.results import Face
from halnet.runtimes.base import Crops, RuntimeOptions
from halnet.runtimes.pytorch import PyTorchRuntime

SPLIT = "val"  # never the one that results are reported on
MIN_SAMPLES = 16
MIN_DECADES = 3  # of the ages: ranges measured on faces of one age do not hold for the others
BATCH = 8  # crops of a run that measures, where the graph leaves it open
LOOKED_AT = 4  # times as many photos of a folder as are asked for, to balance them


@dataclass(frozen=True, eq=False)
class CalibrationCrops:
    """Crops to calibrate on."""

    crops: Crops  # N x 224 x 224 x 3 uint8 RGB
    origin: dict[str, Any]  # JSON-ready, for the manifest

    def __len__(self) -> int:
        return len(self.crops)


def pick_calibration_crops(data: PreparedDataset, count: int, seed: int = 0) -> CalibrationCrops:
    """Return `count` crops of the validation split, balanced over decades of age and sex.

    Each group gives one photo in turn, in an order drawn from `seed`, until there are enough.
    Raises DatasetError where there are fewer photos, or too few ages among them.
    """
    records = pick_records(data.select(SPLIT), count, seed, f"{data.root}, {SPLIT} split")
    return CalibrationCrops(
        data.inner_crops(records),
        _origin(f"{data.dataset} {SPLIT} split {data.split_sha256[:12]}", seed, records),
    )


def find_calibration_crops(
    folder: Path,
    checkpoint: Checkpoint,
    count: int,
    seed: int = 0,
    detector: Path | None = None,
    refused: Set[str] = frozenset(),
) -> CalibrationCrops:
    """Return up to `count` crops of the largest faces in a folder's photos, as `align` makes them.

    They are balanced over decades of the ages that the checkpoint estimates. `detector` is a local
    YuNet file. Raises DatasetError where there are too few faces, too few ages among them, or a
    photo is named as one of `refused`, the photos that results are reported on; ConfigError where
    there is no photo, DetectorError where YuNet cannot be had.
    """
    photos = find_photos([folder])
    clash = sorted(photo.name for photo in photos if photo.name in refused)
    if clash:
        raise DatasetError(
            f"{folder}: {len(clash)} of its photos are of the test split ({clash[0]}, ...), which "
            "results are reported on; calibrate on others"
        )
    order = np.random.default_rng(seed).permutation(len(photos))[: LOOKED_AT * count]
    largest: dict[Path, Face] = {}
    runtime = PyTorchRuntime(checkpoint, RuntimeOptions(device="cpu"))
    with Predictor(runtime, detector=detector) as predictor:
        for result in predict_photos(predictor, [photos[i] for i in order]):
            if result.faces:  # none either where the photo could not be read
                largest[result.photo] = result.faces[0]
    found = [
        Record(photo.relative_to(folder).as_posix(), int(face.age), "", SPLIT)
        for photo, face in largest.items()
    ]
    records = pick_records(found, min(count, max(len(found), MIN_SAMPLES)), seed, str(folder))
    chosen = [folder / record.source for record in records]
    crops = np.stack([align(load_image(photo), largest[photo].landmarks) for photo in chosen])
    return CalibrationCrops(crops, _origin(f"photos in {folder.name}", seed, records))


def _origin(data: str, seed: int, records: Sequence[Record]) -> dict[str, Any]:
    return {"data": data, "seed": seed, "photos": [record.source for record in records]}


def full_batches(crops: Crops, size: int) -> Iterator[tuple[Crops, int]]:
    """Yield batches of `size` crops, and how many of each are not repeats that fill the last."""
    for start in range(0, len(crops), size):
        part = crops[start : start + size]
        yield np.resize(part, (size, *part.shape[1:])), len(part)


def pick_records(
    records: Sequence[Record], count: int, seed: int, place: str = "data"
) -> list[Record]:
    """Return `count` of the records, as many of each decade and sex as there are, by turns.

    Raises DatasetError, which names their `place`, where there are too few of them, or too few
    decades of age among them.
    """
    if len(records) < MIN_SAMPLES:
        raise DatasetError(
            f"{place}: expected at least {MIN_SAMPLES} photos of faces to calibrate on, "
            f"found {len(records)}"
        )
    if not MIN_SAMPLES <= count <= len(records):
        raise DatasetError(
            f"{place}: expected {MIN_SAMPLES} to {len(records)} photos to calibrate on, found "
            f"{count} asked for; there are no more"
        )
    groups: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for index in np.random.default_rng(seed).permutation(len(records)):
        record = records[index]
        groups[record.age // 10, record.sex].append(record)
    decades = {decade for decade, _ in groups}
    if len(decades) < MIN_DECADES:
        raise DatasetError(
            f"{place}: expected faces of at least {MIN_DECADES} decades of age to calibrate on, "
            f"found {len(decades)}; add photos of other ages"
        )
    turns = zip_longest(*(groups[key] for key in sorted(groups)))
    return [record for turn in turns for record in turn if record is not None][:count]
