"""The origin of a prepared folder: what decides its content."""

import hashlib
import json
import os
from dataclasses import dataclass

from halnet.artifact import INPUT
from halnet.datasets.source_photo import Listing, SourcePhoto, age_text
from halnet.errors import ConfigError
from halnet.files import NAME_ERRORS


@dataclass(frozen=True)
class Origin:
    """What a folder is prepared from. Equal values give an equal folder."""

    dataset: str  # kind of dataset, a name in `DATASETS`
    seed: int  # of the split
    listing_sha256: str  # of the list of photos and their ages
    input_fingerprint: str = INPUT.fingerprint()  # how crops are made
    name: str = ""  # of the dataset in results; empty: its kind
    shares: str = "90/5/5"  # of training, validation and test, in percent
    details_sha256: str = ""  # of what else the dataset states, such as persons and groups
    files_sha256: str = ""  # of the sizes and modification times of the photos


@dataclass(frozen=True)
class ListingSummary:
    """What one reading of a listing finds."""

    items: int  # number of photos and of rejects
    sha256: str  # of the photos and their ages; older versions have the same
    details_sha256: str  # of everything else that the dataset states
    files_sha256: str  # of the sizes and modification times of the photos


def summarise(listing: Listing, parts: dict[str, str]) -> ListingSummary:
    """Read a listing once, and keep none of its photos. The photos themselves are not opened.

    `parts` has the parts of a split that exists. Raises ConfigError if the dataset states another
    part for one of these photos.
    """
    ages, details, files = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    root = os.fspath(listing.root)
    items, separator = 0, ""
    for item in listing:
        items += 1
        if not isinstance(item, SourcePhoto):
            details.update(_line([item.source, item.age, item.reason]))
            continue
        if item.split and parts.get(item.source, item.split) != item.split:
            raise ConfigError(
                f"{item.source}: expected the split {parts[item.source]}, in which the folder has "
                f"the photo already, found {item.split}; name another folder with --out"
            )
        text = f"{separator}{item.source} {age_text(item.age_low, item.age_high)}"
        ages.update(text.encode(errors=NAME_ERRORS))
        details.update(_line([item.sex, item.person, item.split, item.groups]))
        files.update(_line(_file_state(os.path.join(root, item.source))))
        separator = "\n"
    return ListingSummary(items, ages.hexdigest(), details.hexdigest(), files.hexdigest())


def _file_state(path: str) -> list[object]:
    """Return what changes if a file is replaced: its size, and when it was written."""
    try:
        status = os.stat(path)
    except OSError:  # cropping says what is wrong with the file
        return []
    return [status.st_size, status.st_mtime_ns]


def _line(values: list[object]) -> bytes:
    return (json.dumps(values) + "\n").encode()
