"""AFAD, the Asian Face Age Dataset [Niu et al., CVPR 2016].

The folder contains photos with paths like `AGE/111/ID.jpg`: the age in years, and 111 for male or
112 for female.
"""

import re
from pathlib import Path

from halnet.datasets.dataset_files import check_names, list_files, reject_name
from halnet.datasets.source_photo import OLDEST, Listing, RejectedPhoto, SourceItem, SourcePhoto

SEXES = {"111": "male", "112": "female"}

_PATH = re.compile(r"(\d{1,3})/(111|112)/(?!\._)[^/]+\.jpg")


def list_afad(root: Path) -> Listing:
    """Return all photos, sorted by path. Raises DatasetError if the folder is not AFAD."""
    files, left_out = list_files(root)
    items = [_photo(source) for source in files]
    check_names(root, items, "paths like 25/111/104193-0.jpg", "AFAD")
    return Listing(root, [*items, *left_out])


def _photo(source: str) -> SourceItem:
    match = _PATH.fullmatch(source)
    if not match:
        return reject_name(source, "", "the path is not AGE/111/ID.jpg or AGE/112/ID.jpg")
    age = int(match[1])
    if age > OLDEST:
        return RejectedPhoto(source, match[1], f"the age is above {OLDEST}")
    return SourcePhoto(source, age, age, SEXES[match[2]])
