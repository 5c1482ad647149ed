"""Repair: what a prepared folder lost since it was complete is found, and made again.

No photo moves to another part of the split. A split file that is lost is made again only if the
SHA-256 that the folder states shows that it is the same one.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halnet.datasets.cropping import crop_photos
from halnet.datasets.prepared_dataset import (
    INDEX_FILE,
    REJECTS_FILE,
    SUMMARY_FILE,
    OnProgress,
    PreparedDataset,
    crop_path,
)
from halnet.datasets.record import Record, read_index
from halnet.datasets.source_photo import Listing, SourcePhoto
from halnet.datasets.split import SPLIT_FILE, SPLITS, Split, read_split
from halnet.errors import DatasetError
from halnet.files import locked

OnRepair = Callable[[str], None]  # takes one line: what is wrong, and what is done about it


def no_repair(text: str) -> None:
    """Ignore what is repaired."""


def check_split(
    out: Path, stated: Mapping[str, Any], is_finished: bool, on_repair: OnRepair
) -> None:
    """Check that a folder has its split file, and make it again if it is lost.

    `stated` has the values of `prepared.json`; it is empty if there is no such file. `is_finished`
    says that no run was interrupted. Raises DatasetError if the file is damaged or another one, and
    if it is lost and cannot be made again.
    """
    path = out / SPLIT_FILE
    if path.exists():
        found = read_split(path).sha256
        # An interrupted run may have added photos to the split that are not stated yet.
        if stated and is_finished and found != stated["split_sha256"]:
            raise DatasetError(
                f"{path}: expected the split with SHA-256 {stated['split_sha256'][:12]}..., which "
                f"{SUMMARY_FILE} states, found {found[:12]}...; put a copy of the right file "
                "there, or delete this one and run halnet prepare again"
            )
    elif stated:
        split = _read_split_of_index(out, stated)
        if split.sha256 != stated["split_sha256"]:
            raise DatasetError(
                f"{path}: expected the split with SHA-256 {stated['split_sha256'][:12]}..., found "
                f"no file, and {INDEX_FILE} does not state the whole split; put a copy of the file "
                "there, or name another folder with --out"
            )
        on_repair(f"{path}: the file is lost; it is made again from {INDEX_FILE}, as it was")
        with locked(out, "preparation"):
            split.write(path)
    elif is_finished and (out / INDEX_FILE).exists():
        raise DatasetError(
            f"{path}: expected the split of the photos in {INDEX_FILE}, found no file; put a copy "
            "of the file there, or name another folder with --out"
        )


def _read_split_of_index(out: Path, stated: Mapping[str, Any]) -> Split:
    """Return the split that the index states, with the photos of each part in its order."""
    try:
        records = read_index(out / INDEX_FILE)
    except DatasetError:
        records = ()
    photos = {part: tuple(r.source for r in records if r.split == part) for part in SPLITS}
    return Split(stated.get("name") or stated["dataset"], stated["seed"], photos)


@dataclass(frozen=True)
class Damage:
    """Why a folder that was complete is not complete any more."""

    text: str = ""  # one line: what is wrong, and what is done about it; empty: nothing is wrong
    crops: tuple[Record, ...] = ()  # photos whose crops are lost, if nothing else is wrong


def find_damage(out: Path, changed: Collection[str]) -> Damage:
    """Find what is wrong with a folder that was complete, and whose split was checked.

    `changed` has the names of the values of its origin that are different now. Crops are not
    opened: one is lost if its file is missing or empty.
    """
    again = "all photos are prepared again, and those of its split stay in their parts"
    if changed:
        change = "replaced" if set(changed) == {"files_sha256"} else "added, removed or changed"
        return Damage(f"{out}: photos were {change} since it was prepared; {again}")
    try:
        records = PreparedDataset(out).records
    except DatasetError:
        return Damage(f"{out}: {INDEX_FILE} is lost or damaged; {again}")
    if not (out / REJECTS_FILE).exists():
        return Damage(f"{out}: {REJECTS_FILE} is lost; {again}")
    lost = tuple(r for r in records if not _has_content(crop_path(out, r.source)))
    text = f"{out}: lost crops: {len(lost)}; they are made again"
    return Damage(text, lost) if lost else Damage()


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def restore_crops(
    listing: Listing,
    out: Path,
    missing: Sequence[Record],
    model: Path,
    workers: int,
    on_progress: OnProgress,
) -> bool:
    """Make the missing crops again; return whether they are those that the index describes.

    They are others if the photos were replaced, which the folder of an older version cannot tell.
    The other arguments are those of `prepare`.
    """
    records = {record.source: record for record in missing}
    found: set[str] = set()
    todo = (item for item in listing if isinstance(item, SourcePhoto) and item.source in records)
    on_progress(0, len(records))
    for result in crop_photos(listing.root, out, todo, model, workers):
        known = records[result.source].hash  # None in the index of an older version
        if not result.reject and known in (None, int(result.hash, 16)):
            found.add(result.source)
        on_progress(len(found), len(records))
    return len(found) == len(records)
