"""Preparing a dataset: it crops the face in each photo, and writes the index and the split.

A journal in the folder lets an interrupted run continue. The summary is written last, and shows
that the folder is complete.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from halnet.artifact import INPUT
from halnet.datasets.cropping import PreparedPhoto, crop_photos
from halnet.datasets.prepared_dataset import (
    INDEX_FILE,
    REJECTS_FILE,
    SUMMARY_FILE,
    OnProgress,
    no_progress,
    read_summary,
)
from halnet.datasets.sources import DATASETS
from halnet.datasets.split import SPLIT_FILE, SPLITS, stratified_split
from halnet.errors import ConfigError
from halnet.faces import yunet_path
from halnet.files import csv_text, write_text

JOURNAL_FILE = "progress.jsonl"  # exists during the work, with one line for each photo
INDEX_COLUMNS = ("source", "age", "sex", "split", "score", "faces", "landmark_error")
REJECTS_COLUMNS = ("source", "age", "sex", "reject")


@dataclass(frozen=True)
class Origin:
    """What a folder is prepared from. Equal values give an equal folder."""

    dataset: str  # name in `DATASETS`
    seed: int  # of the split
    listing_sha256: str  # of the list of photos and their ages
    input_fingerprint: str = INPUT.fingerprint()  # how crops are made


@dataclass(frozen=True)
class PrepareSummary:
    """The content of prepared.json, which a complete folder has."""

    dataset: str
    photos: int  # number of photos in the dataset
    indexed: int
    rejected: int
    several_faces: int  # number of indexed photos with more than one face
    landmark_error: float | None  # median, in eye distances
    split: dict[str, int]  # number of photos in each split
    split_sha256: str
    seed: int
    listing_sha256: str  # of the list of photos and their ages
    input_fingerprint: str


def prepare(
    source: Path,
    out: Path,
    dataset: str = "aaf",
    *,
    workers: int = 2,
    seed: int = 0,
    detector: str | Path | None = None,
    on_progress: OnProgress = no_progress,
) -> PrepareSummary:
    """Prepare a dataset into the folder `out`, or continue an interrupted run there.

    The result does not depend on the number of worker processes. A folder that is complete and has
    the same origin does not change. `detector` is a local YuNet file; without it, YuNet is
    downloaded once. `on_progress` is called with the number of finished photos and of all photos.

    Raises DatasetError if `source` is not the dataset, ConfigError if `dataset` is unknown or `out`
    contains another dataset, and DetectorError if YuNet is not available.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"dataset: expected one of {', '.join(DATASETS)}, found {dataset}")
    photos = DATASETS[dataset](source)
    listing = "\n".join(f"{photo.source} {photo.age}" for photo in photos)
    origin = Origin(dataset, seed, hashlib.sha256(listing.encode()).hexdigest())
    summary = _find_summary(out, origin)
    if summary is not None:
        return summary
    model = yunet_path(detector)
    out.mkdir(parents=True, exist_ok=True)
    journal = out / JOURNAL_FILE
    results = _read_journal(journal, origin)
    if not results:
        write_text(journal, json.dumps(asdict(origin)) + "\n")
    todo = [photo for photo in photos if photo.source not in results]
    on_progress(len(results), len(photos))
    with open(journal, "a", encoding="utf-8") as file:
        for result in crop_photos(source, out, todo, model, workers):
            file.write(json.dumps(asdict(result)) + "\n")
            file.flush()
            results[result.source] = result
            on_progress(len(results), len(photos))
    return write_index(out, origin, [results[photo.source] for photo in photos])


def _find_summary(out: Path, origin: Origin) -> PrepareSummary | None:
    """Return the summary of a complete folder with the same origin, or None."""
    if not (out / SUMMARY_FILE).exists():
        return None
    found = read_summary(out)
    for key, value in asdict(origin).items():
        if found[key] != value:
            raise ConfigError(
                f"{out}: expected a folder that was prepared with {key} {value}, found {key} "
                f"{found[key]}; name another folder with --out"
            )
    return PrepareSummary(**found)


def _read_journal(path: Path, origin: Origin) -> dict[str, PreparedPhoto]:
    """Return the photos that an interrupted run finished, by source; none for another origin."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # the last line may be cut off
    if not whole or whole[0] != json.dumps(asdict(origin)) + "\n":
        return {}
    if len(whole) < len(lines):
        write_text(path, "".join(whole))
    results = (PreparedPhoto(**json.loads(line)) for line in whole[1:])
    return {result.source: result for result in results}


def write_index(out: Path, origin: Origin, results: Sequence[PreparedPhoto]) -> PrepareSummary:
    """Write the index, the rejected photos, the split and, last, the summary of a complete folder.

    `results` are in the order of the dataset.
    """
    kept = [result for result in results if not result.reject]
    rejected = [result for result in results if result.reject]
    split = stratified_split(
        origin.dataset,
        [result.source for result in kept],
        [result.age for result in kept],
        origin.seed,
    )
    split_of = {source: name for name in SPLITS for source in split.photos[name]}
    rows = ({**asdict(result), "split": split_of[result.source]} for result in kept)
    write_text(out / INDEX_FILE, csv_text(INDEX_COLUMNS, rows))
    write_text(out / REJECTS_FILE, csv_text(REJECTS_COLUMNS, map(asdict, rejected)))
    split.write(out / SPLIT_FILE)
    errors = [result.landmark_error for result in kept if result.landmark_error is not None]
    summary = PrepareSummary(
        photos=len(results),
        indexed=len(kept),
        rejected=len(rejected),
        several_faces=sum(result.faces > 1 for result in kept),
        landmark_error=round(median(errors), 4) if errors else None,
        split={name: len(split.photos[name]) for name in SPLITS},
        split_sha256=split.sha256,
        **asdict(origin),
    )
    write_text(out / SUMMARY_FILE, json.dumps(asdict(summary), indent=1) + "\n")
    (out / JOURNAL_FILE).unlink(missing_ok=True)
    return summary
