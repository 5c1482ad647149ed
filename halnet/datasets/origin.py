"""The origin of a prepared folder: what decides its content."""

import hashlib
import json
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


@dataclass(frozen=True)
class ListingSummary:
    """What one reading of a listing finds."""

    items: int  # number of photos and of rejects
    sha256: str  # of the photos and their ages; older versions have the same
    details_sha256: str  # of everything else that the dataset states


def summarise(listing: Listing, parts: dict[str, str]) -> ListingSummary:
    """Read a listing once, and keep none of its photos.

    `parts` has the parts of a split that exists. Raises ConfigError if the dataset states another
    part for one of these photos.
    """
    ages, details = hashlib.sha256(), hashlib.sha256()
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
        separator = "\n"
    return ListingSummary(items, ages.hexdigest(), details.hexdigest())


def _line(values: list[object]) -> bytes:
    return (json.dumps(values) + "\n").encode()
