"""Preparing a dataset: detection and alignment of every photo, the index and the split.

The photos go the same way as in prediction: the same detector, the same template. A dataset's own
landmarks choose the face where there are several and give the landmark error, nothing else.
"""

import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import cv2

from halnet.alignment import MARGIN, align
from halnet.artifact import INPUT
from halnet.datasets.aaf import read_landmarks
from halnet.datasets.prepared_dataset import (
    INDEX_FILE,
    REJECTS_FILE,
    SUMMARY_FILE,
    crop_path,
    read_summary,
)
from halnet.datasets.source_photo import SourcePhoto, landmark_error
from halnet.datasets.sources import DATASETS
from halnet.datasets.split import SPLIT_FILE, SPLITS, stratified_split
from halnet.errors import ConfigError, DatasetError, ImageError
from halnet.faces import DetectedFace, FaceDetector, yunet_path
from halnet.files import csv_text, replacing, write_text
from halnet.images import Image, encode_image, load_image

JOURNAL_FILE = "progress.jsonl"  # one line a photo while the work is going on
CHUNK = 16  # photos a task of a worker
MAX_LANDMARK_ERROR = 0.5  # eye distances: beyond, the detected face is not the annotated one


@dataclass(frozen=True)
class Prepared:
    """What became of one photo."""

    source: str
    age: int
    sex: str
    score: float | None = None  # of the detection
    faces: int = 0  # found in the photo
    landmark_error: float | None = None  # in eye distances, where the dataset has landmarks
    reject: str = ""  # why the photo was left out


@dataclass(frozen=True)
class PrepareSummary:
    """What a dataset folder holds once it is complete."""

    dataset: str
    photos: int  # listed by the source
    indexed: int
    rejected: int
    several_faces: int  # photos with more than one face
    landmark_error: float | None  # median, in eye distances
    split: dict[str, int]  # photos in each split
    split_sha256: str
    seed: int
    listing_sha256: str  # of the source's list of photos
    input_fingerprint: str


def prepare(
    source: Path,
    out: Path,
    dataset: str = "aaf",
    *,
    workers: int = 2,
    seed: int = 0,
    detector: str | Path | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> PrepareSummary:
    """Prepare a dataset into the folder `out`; go on where an interrupted run stopped.

    The result does not depend on the number of workers. A folder that is complete for the same
    source is left as it is. `on_progress` is called with (photos done, photos in all).

    Raises DatasetError for a source that is not the dataset, ConfigError for a folder that holds
    another one.
    """
    if dataset not in DATASETS:
        raise ConfigError(f"dataset {dataset}: expected one of {', '.join(DATASETS)}")
    photos = DATASETS[dataset](source)
    listing = hashlib.sha256("\n".join(f"{p.source} {p.age}" for p in photos).encode()).hexdigest()
    identity = {"dataset": dataset, "seed": seed, "listing_sha256": listing}
    identity["input_fingerprint"] = INPUT.fingerprint()
    done = _complete(out, identity)
    if done:
        return done
    model = yunet_path(detector)
    out.mkdir(parents=True, exist_ok=True)
    results = _detect_all(source, out, photos, identity, model, workers, on_progress)
    return write_index(out, identity, [results[photo.source] for photo in photos])


def _complete(out: Path, identity: dict[str, object]) -> PrepareSummary | None:
    """Return the summary of a finished run for the same source, None where there is none."""
    if not (out / SUMMARY_FILE).exists():
        return None
    found = read_summary(out)
    for key, value in identity.items():
        if found[key] != value:
            raise ConfigError(
                f"{out}: holds a prepared dataset of another {key} (expected {value}, found "
                f"{found[key]}); name another folder with --out"
            )
    return PrepareSummary(**found)


def _detect_all(
    source: Path,
    out: Path,
    photos: Sequence[SourcePhoto],
    identity: dict[str, object],
    model: Path,
    workers: int,
    on_progress: Callable[[int, int], None],
) -> dict[str, Prepared]:
    """Detect and align all photos, those aside that the journal of an earlier run has."""
    journal = out / JOURNAL_FILE
    results = _read_journal(journal, identity)
    todo = [photo for photo in photos if photo.source not in results]
    if not results:
        write_text(journal, json.dumps(identity) + "\n")
    on_progress(len(results), len(photos))
    with open(journal, "a", encoding="utf-8") as file:
        for result in _run_workers(source, out, todo, model, workers):
            file.write(json.dumps(asdict(result)) + "\n")
            file.flush()
            results[result.source] = result
            on_progress(len(results), len(photos))
    return results


def _read_journal(path: Path, identity: dict[str, object]) -> dict[str, Prepared]:
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # the last may have been cut off
    if not whole or whole[0] != json.dumps(identity) + "\n":
        return {}
    if len(whole) < len(lines):
        write_text(path, "".join(whole))
    results = (Prepared(**json.loads(line)) for line in whole[1:])
    return {result.source: result for result in results}


def _run_workers(
    source: Path, out: Path, photos: Sequence[SourcePhoto], model: Path, workers: int
) -> Iterator[Prepared]:
    task = partial(_prepare_photo, source, out)
    if workers == 1:
        _start_worker(model)
        yield from map(task, photos)
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start_worker, (model, True)
    )
    try:
        yield from pool.map(task, photos, chunksize=CHUNK)
    except BrokenProcessPool as error:
        raise DatasetError(
            "a worker process was ended from outside, perhaps for want of memory; "
            "run the same command again, with fewer --workers"
        ) from error
    finally:  # photos in work are finished, so nothing is left half-written
        pool.shutdown(cancel_futures=True)


_detector: FaceDetector | None = None  # one a process: it cannot be pickled


def _start_worker(model: Path, ignore_interrupt: bool = False) -> None:
    global _detector  # noqa: PLW0603
    if ignore_interrupt:  # Ctrl-C is for the parent, which then ends its workers
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)  # one photo a process: the same sums in the same order
    _detector = FaceDetector(model)


def _prepare_photo(source: Path, out: Path, photo: SourcePhoto) -> Prepared:
    assert _detector is not None
    result = Prepared(photo.source, photo.age, photo.sex)
    try:
        image = load_image(source / photo.source)
        annotated = None if photo.annotation is None else read_landmarks(photo.annotation)
    except (ImageError, DatasetError) as error:
        return replace(result, reject=str(error).replace(f"{source}/", ""))
    faces = _detector(image)
    if not faces:
        return replace(result, reject="no face found")
    face, distance = faces[0], None
    if annotated is not None:
        errors = [landmark_error(candidate.landmarks, annotated) for candidate in faces]
        distance = round(min(errors), 4)
        face = faces[errors.index(min(errors))]
    result = replace(result, score=round(face.score, 4), faces=len(faces), landmark_error=distance)
    if distance is not None and distance > MAX_LANDMARK_ERROR:
        return replace(result, reject="no detected face is the annotated one")
    _write_crop(crop_path(out, photo.source), image, face)
    return result


def _write_crop(path: Path, image: Image, face: DetectedFace) -> None:
    # Lossless: a JPEG of quality 95 was seen to move single ages by 0.4 years on average.
    data = encode_image(align(image, face.landmarks, MARGIN), ".png")
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_index(
    out: Path, identity: dict[str, object], results: Sequence[Prepared]
) -> PrepareSummary:
    """Write index, rejects, split and, last, the summary that says the folder is complete."""
    kept = [result for result in results if not result.reject]
    rejected = [result for result in results if result.reject]
    split = stratified_split(
        str(identity["dataset"]),
        [result.source for result in kept],
        [result.age for result in kept],
        int(str(identity["seed"])),
    )
    part = {source: name for name in SPLITS for source in split.photos[name]}
    columns = ["source", "age", "sex", "split", "score", "faces", "landmark_error"]
    rows = ({**asdict(r), "split": part[r.source]} for r in kept)
    write_text(out / INDEX_FILE, csv_text(columns, rows))
    columns = ["source", "age", "sex", "reject"]
    write_text(out / REJECTS_FILE, csv_text(columns, map(asdict, rejected)))
    split.write(out / SPLIT_FILE)
    errors = [r.landmark_error for r in kept if r.landmark_error is not None]
    summary = PrepareSummary(
        dataset=split.dataset,
        photos=len(results),
        indexed=len(kept),
        rejected=len(rejected),
        several_faces=sum(result.faces > 1 for result in kept),
        landmark_error=round(median(errors), 4) if errors else None,
        split={name: len(split.photos[name]) for name in SPLITS},
        split_sha256=split.sha256,
        seed=split.seed,
        listing_sha256=str(identity["listing_sha256"]),
        input_fingerprint=str(identity["input_fingerprint"]),
    )
    write_text(out / SUMMARY_FILE, json.dumps(asdict(summary), indent=1) + "\n")  # last: complete
    (out / JOURNAL_FILE).unlink(missing_ok=True)
    return summary
