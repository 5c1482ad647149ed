"""Preparing a dataset: it crops the face in each photo, and writes the index and the split.

A journal in the folder lets an interrupted run continue.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any

from halnet.datasets.cropping import crop_photos
from halnet.datasets.csv_source import CsvColumns, list_csv
from halnet.datasets.indexing import PrepareSummary, write_index
from halnet.datasets.journal import Journal
from halnet.datasets.origin import Origin, summarise
from halnet.datasets.prepared_dataset import (
    SUMMARY_FILE,
    OnProgress,
    no_progress,
    read_summary,
)
from halnet.datasets.repair import (
    OnRepair,
    check_split,
    find_damage,
    no_repair,
    restore_crops,
)
from halnet.datasets.source_photo import Listing
from halnet.datasets.sources import DATASETS
from halnet.datasets.split import SPLIT_FILE, parse_shares, read_split
from halnet.errors import ConfigError
from halnet.faces.yunet_file import yunet_path
from halnet.files import check_folder, locked

JOURNAL_FILE = "progress.jsonl"  # exists during the work


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
    on_repair: OnRepair = no_repair,
) -> PrepareSummary:
    """Prepare a dataset into the folder `out`, or continue an interrupted run there.

    The result does not depend on the number of worker processes. A folder that is complete and has
    the same origin does not change. If photos were added, removed or replaced since, the folder is
    brought up to date. Files that it lost are made again. No photo moves to another part of the
    split.

    `name` is the name of the dataset in results; without it, `dataset` is used. `shares` are those
    of training, validation and test in percent, such as "90/5/5"; without them, the default of the
    kind of dataset is used. `columns` are the names of the columns of a CSV file. `detector` is a
    local YuNet file; without it, YuNet is downloaded once. `on_progress` is called with the number
    of finished photos and of all photos, and `on_repair` with a line for what is made again.

    Raises DatasetError if `source` is not the dataset, or if the split of `out` is lost or damaged
    and cannot be made again as it was. Raises ConfigError if `dataset` is unknown, an option is
    wrong, or `out` contains another dataset or is being written by another program, and
    DetectorError if YuNet is not available.
    """
    check_folder(out)
    listing = _read_source(source, dataset, columns)
    kind = DATASETS[dataset]
    name, shares = name or dataset, _normalise(shares or kind.shares)
    stated = _read_stated(out)
    fixed = {"dataset": dataset, "name": name, "seed": seed, "shares": shares}
    _check_fixed(out, {**fixed, "input_fingerprint": Origin.input_fingerprint}, stated)
    is_finished = not (out / JOURNAL_FILE).exists()
    check_split(out, stated, is_finished, on_repair)
    listed = summarise(listing, _read_parts(out, name, seed))
    origin = Origin(
        dataset,
        seed,
        listed.sha256,
        name=name,
        shares=shares,
        details_sha256=listed.details_sha256,
        files_sha256=listed.files_sha256,
    )
    damage = find_damage(out, _find_changes(origin, stated)) if stated and is_finished else None
    if damage is not None and not damage.text:
        return _summarise(stated)
    model = yunet_path(detector)
    with locked(out, "preparation"):
        if damage is not None:
            on_repair(damage.text)
            if damage.crops and restore_crops(
                listing, out, damage.crops, model, workers, on_progress
            ):
                return _summarise(stated)
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


def _read_stated(out: Path) -> dict[str, Any]:
    """Return the values of `prepared.json`; none if the folder was never complete."""
    if not (out / SUMMARY_FILE).exists():
        return {}
    # Older versions had no names, and no other shares than the default ones.
    stated = read_summary(out)
    return {"name": stated["dataset"], "shares": Origin.shares, **stated}


def _read_parts(out: Path, name: str, seed: int) -> dict[str, str]:
    """Return the part of each photo in a split that the folder has already."""
    if not (out / SPLIT_FILE).exists():
        return {}
    split = read_split(out / SPLIT_FILE)
    _check_fixed(out, {"name": name, "seed": seed}, {"name": split.dataset, "seed": split.seed})
    return split.parts()


def _check_fixed(out: Path, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise ConfigError if the folder states another value for one of those that are `expected`."""
    for key, value in expected.items():
        if found.get(key, value) != value:
            raise ConfigError(
                f"{out}: expected a folder that was prepared with {key} {value}, found {key} "
                f"{found[key]}; name another folder with --out"
            )


def _find_changes(origin: Origin, stated: Mapping[str, Any]) -> set[str]:
    """Return the names of the values that differ. Those that an older version lacks are equal."""
    return {key for key, value in asdict(origin).items() if stated.get(key, value) != value}


def _summarise(stated: Mapping[str, Any]) -> PrepareSummary:
    known = {field.name for field in fields(PrepareSummary)}
    return PrepareSummary(**{key: value for key, value in stated.items() if key in known})
