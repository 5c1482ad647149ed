"""AFAD, the Asian Face Age Dataset [Niu et al., CVPR 2016].

The folder contains photos with paths like `AGE/111/ID.jpg`: the age in years, and 111 for male or
112 for female.
"""

import re
from pathlib import Path

from halnet.datasets.source_photo import OLDEST, Listing, RejectedPhoto, SourceItem, SourcePhoto
from halnet.errors import DatasetError

SEXES = {"111": "male", "112": "female"}

_PATH = re.compile(r"(\d{1,3})/(111|112)/[^/]+\.jpg")


def list_afad(root: Path) -> Listing:
    """Return all photos, sorted by path. Raises DatasetError if the folder is not AFAD."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    items = [_photo(path.relative_to(root).as_posix()) for path in files]
    count = sum(isinstance(item, SourcePhoto) for item in items)
    if not count or count < len(files) / 2:
        raise DatasetError(
            f"{root}: expected photos with paths like 25/111/104193-0.jpg, found such paths for "
            f"{count} of {len(files)} files; name the AFAD folder"
        )
    return Listing(root, items)


def _photo(source: str) -> SourceItem:
    match = _PATH.fullmatch(source)
    if not match:
        return RejectedPhoto(source, "", "the path is not AGE/111/ID.jpg or AGE/112/ID.jpg")
    age = int(match[1])
    if age > OLDEST:
        return RejectedPhoto(source, match[1], f"the age is above {OLDEST}")
    return SourcePhoto(source, age, age, SEXES[match[2]])
