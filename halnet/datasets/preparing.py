"""Preparing a dataset: it crops the face in each photo, and writes the index and the split.

A journal in the folder lets an interrupted run continue.
"""

from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path

from halnet.datasets.cropping import crop_photos
from halnet.datasets.csv_source import CsvColumns, list_csv
from halnet.datasets.indexing import PrepareSummary, write_index
from halnet.datasets.journal import Journal
from halnet.datasets.origin import Origin, summarise
from halnet.datasets.prepared_dataset import SUMMARY_FILE, OnProgress, no_progress, read_summary
from halnet.datasets.source_photo import Listing
from halnet.datasets.sources import DATASETS
from halnet.datasets.split import SPLIT_FILE, parse_shares, read_split
from halnet.errors import ConfigError
from halnet.faces import yunet_path
from halnet.files import locked

JOURNAL_FILE = "progress.jsonl"  # exists during the work
# A folder with other photos is brought up to date. These values must stay as they are.
FIXED = ("dataset", "name", "seed", "shares", "input_fingerprint")


def prepare(
    source: Path,
    out: Path,
    dataset: str = "aaf",
    *,
    name: str = "",
    shares: str = "",
    columns: CsvColumns | None = None,
    workers: int = 2,
    seed: int = 0,
    detector: str | Path | None = None,
    on_progress: OnProgress = no_progress,
) -> PrepareSummary:
    """Prepare a dataset into the folder `out`, or continue an interrupted run there.

    The result does not depend on the number of worker processes. A folder that is complete and has
    the same origin does not change. If photos were added or removed since, the folder is brought up
    to date, and no photo moves to another part of the split.

    `name` is the name of the dataset in results; without it, `dataset` is used. `shares` are those
    of training, validation and test in percent, such as "90/5/5"; without them, the default of the
    kind of dataset is used. `columns` are the names of the columns of a CSV file. `detector` is a
    local YuNet file; without it, YuNet is downloaded once. `on_progress` is called with the number
    of finished photos and of all photos.

    Raises DatasetError if `source` is not the dataset, ConfigError if `dataset` is unknown, an
    option is wrong, or `out` contains another dataset or is being written by another program, and
    DetectorError if YuNet is not available.
    """
    listing = _read_source(source, dataset, columns)
    kind = DATASETS[dataset]
    shares = _normalise(shares or kind.shares)
    found = _read_split_of(out, name or dataset, seed)
    listed = summarise(listing, found)
    origin = Origin(
        dataset,
        seed,
        listed.sha256,
        name=name or dataset,
        shares=shares,
        details_sha256=listed.details_sha256,
    )
    summary = _find_summary(out, origin)
    if summary is not None:
        return summary
    model = yunet_path(detector)
    with locked(out, "preparation"):
        with Journal(out / JOURNAL_FILE, asdict(origin)) as journal:
            on_progress(len(journal), listed.items)
            todo = islice(listing, len(journal), None)
            for result in crop_photos(listing.root, out, todo, model, workers):
                journal.append(result)
                on_progress(len(journal), listed.items)
            keep_old_split = kind.keeps_old_split and shares == _normalise(kind.shares)
            summary = write_index(out, origin, journal, keep_old_split)
        (out / JOURNAL_FILE).unlink()
    return summary


def _read_source(source: Path, dataset: str, columns: CsvColumns | None) -> Listing:
    if dataset not in DATASETS:
        raise ConfigError(f"dataset: expected one of {', '.join(DATASETS)}, found {dataset}")
    if columns in (None, CsvColumns()):
        return DATASETS[dataset].read(source)
    if dataset != "csv":
        raise ConfigError(
            f"dataset: expected csv, because names of columns are given, found {dataset}; leave "
            "out these names, or name csv with --dataset"
        )
    return list_csv(source, columns)


def _normalise(shares: str) -> str:
    """Return shares in their shortest form. Raises ConfigError if they are wrong."""
    return "/".join(f"{100 * value:g}" for value in parse_shares(shares).values())


def _read_split_of(out: Path, name: str, seed: int) -> dict[str, str]:
    """Return the part of each photo in a split that the folder has already."""
    if not (out / SPLIT_FILE).exists():
        return {}
    split = read_split(out / SPLIT_FILE)
    for key, value, found in (("name", name, split.dataset), ("seed", seed, split.seed)):
        _check_fixed(out, key, value, found)
    return split.parts()


def _find_summary(out: Path, origin: Origin) -> PrepareSummary | None:
    """Return the summary of a complete folder with the same origin, or None.

    Raises ConfigError for a folder with another dataset.
    """
    if not (out / SUMMARY_FILE).exists():
        return None
    # Older versions had no names, and no other shares than the default ones.
    found = {"name": origin.dataset, "shares": Origin.shares, **read_summary(out)}
    expected = asdict(origin)
    for key in FIXED:
        _check_fixed(out, key, expected[key], found[key])
    if any(found.get(key, value) != value for key, value in expected.items()):
        return None
    known = {field.name for field in fields(PrepareSummary)}
    return PrepareSummary(**{key: value for key, value in found.items() if key in known})


def _check_fixed(out: Path, key: str, expected: object, found: object) -> None:
    if found != expected:
        raise ConfigError(
            f"{out}: expected a folder that was prepared with {key} {expected}, found {key} "
            f"{found}; name another folder with --out"
        )
