"""Indexing: it decides which photos are kept and in which part, and writes the prepared folder.

The summary is written last, and shows that the folder is complete.
"""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from halnet.ages import AGE_MAX
from halnet.datasets.cropping import PreparedPhoto
from halnet.datasets.origin import Origin
from halnet.datasets.partition import Partition, make_partition
from halnet.datasets.prepared_dataset import INDEX_FILE, REJECTS_FILE, SUMMARY_FILE
from halnet.datasets.record import GROUP_PREFIX
from halnet.datasets.split import SPLIT_FILE, SPLITS
from halnet.files import NAME_ERRORS, csv_writer, replacing, write_text

INDEX_COLUMNS = (
    *("source", "age_low", "age_high", "sex", "person", "split", "score", "faces"),
    *("landmark_error", "width", "height", "eye_distance", "landmarks", "hash"),
)
REJECTS_COLUMNS = ("source", "age", "sex", "reject")
MAX_REASONS = 30  # number of different reasons in the summary


@dataclass(frozen=True)
class PrepareSummary:
    """The content of prepared.json, which a complete folder has.

    The folders of older versions lack the values that have a default here.
    """

    dataset: str
    photos: int  # number of photos in the dataset
    indexed: int
    rejected: int
    several_faces: int  # number of indexed photos with more than one face
    landmark_error: float | None  # median, in eye distances
    split: dict[str, int]  # number of indexed photos in each part
    split_sha256: str
    seed: int
    listing_sha256: str  # of the list of photos and their ages
    input_fingerprint: str
    name: str = ""
    shares: str = "90/5/5"
    details_sha256: str = ""
    files_sha256: str = ""
    reasons: dict[str, int] = field(default_factory=dict)  # number of rejected photos by reason
    twins: int = 0  # number of indexed photos that are copies of others
    twins_apart: int = 0  # those that a part loses when it is loaded, for a copy in another part
    twins_rejected: int = 0  # number of copies whose ages differ
    clipped: int = 0  # number of indexed photos with an age above 100, which counts as 100


def write_index(
    out: Path, origin: Origin, results: Iterable[PreparedPhoto], keep_old_split: bool = False
) -> PrepareSummary:
    """Write the index, the rejected photos, the split and, last, the summary of a complete folder.

    `results` are in the order of the dataset, and are read several times. If the folder has a split
    already, its photos stay in their parts, and new photos are added. `keep_old_split` makes the
    split as older versions did (see `DatasetKind`).
    """
    partition = make_partition(out, origin, results, keep_old_split)
    totals = _write_tables(out, results, partition)
    partition.split.write(out / SPLIT_FILE)
    summary = PrepareSummary(
        photos=totals.indexed + totals.reasons.total(),
        indexed=totals.indexed,
        rejected=totals.reasons.total(),
        several_faces=totals.several_faces,
        landmark_error=round(median(totals.errors), 4) if totals.errors else None,
        split={name: totals.parts[name] for name in SPLITS},
        split_sha256=partition.split.sha256,
        reasons=_most_common(totals.reasons),
        twins=partition.twins,
        twins_apart=partition.twins_apart,
        twins_rejected=partition.twins_rejected,
        clipped=totals.clipped,
        **asdict(origin),
    )
    write_text(out / SUMMARY_FILE, json.dumps(asdict(summary), indent=1) + "\n")
    return summary


@dataclass
class _Totals:
    """What is counted while the tables are written."""

    indexed: int = 0
    several_faces: int = 0
    clipped: int = 0
    errors: list[float] = field(default_factory=list)  # of landmarks, in eye distances
    parts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def _write_tables(out: Path, results: Iterable[PreparedPhoto], partition: Partition) -> _Totals:
    totals = _Totals()
    columns = [*INDEX_COLUMNS, *(GROUP_PREFIX + name for name in partition.groups)]
    with (
        _table(out / INDEX_FILE, columns) as write_photo,
        _table(out / REJECTS_FILE, REJECTS_COLUMNS) as write_reject,
    ):
        for result, part, reject in _decided(results, partition):
            if reject:
                totals.reasons[reject] += 1
                write_reject.writerow({**asdict(result), "age": result.age, "reject": reject})
                continue
            totals.indexed += 1
            totals.parts[part] += 1
            totals.several_faces += result.faces > 1
            totals.clipped += result.age_high > AGE_MAX
            if result.landmark_error is not None:
                totals.errors.append(result.landmark_error)
            write_photo.writerow(_index_row(result, part))
    return totals


@contextmanager
def _table(path: Path, columns: Sequence[str]) -> Iterator["csv.DictWriter[str]"]:
    """Yield a writer of the rows of a CSV file, which is written completely or not at all."""
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors=NAME_ERRORS, newline="") as file,
    ):
        writer = csv_writer(file, columns)
        writer.writeheader()
        yield writer


def _decided(
    results: Iterable[PreparedPhoto], partition: Partition
) -> Iterator[tuple[PreparedPhoto, str, str]]:
    """Yield each result with its part and with the reason why it is rejected; one is empty."""
    decisions = iter(zip(partition.parts, partition.rejects, strict=True))
    for result in results:
        part, reject = ("", result.reject) if result.reject else next(decisions)
        yield result, part, reject


def _index_row(result: PreparedPhoto, part: str) -> dict[str, Any]:
    groups = {GROUP_PREFIX + name: value for name, value in result.groups.items()}
    ages = {name: min(getattr(result, name), AGE_MAX) for name in ("age_low", "age_high")}
    return {**asdict(result), **groups, **ages, "split": part}


def _most_common(reasons: Counter[str]) -> dict[str, int]:
    """Return the number of rejected photos by reason, the most common reason first."""
    found = dict(reasons.most_common(MAX_REASONS))
    others = reasons.total() - sum(found.values())
    return {**found, "other reasons": others} if others else found
