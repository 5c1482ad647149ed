"""UTKFace [Zhang, Song and Qi, CVPR 2017].

The folder contains aligned and cropped photos with names like `AGE_SEX_RACE_DATE.jpg.chip.jpg`: the
age in years, 0 for male and 1 for female, and the number of the group in `RACES`. A few names of
the full dataset lack a field.
"""

import re
from pathlib import Path

from halnet.datasets.dataset_files import check_names, reject_name
from halnet.datasets.source_photo import OLDEST, Listing, RejectedPhoto, SourceItem, SourcePhoto

RACES = ("White", "Black", "Asian", "Indian", "others")
SEXES = ("male", "female")

_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+\.jpg\.chip\.jpg")


def list_utkface(root: Path) -> Listing:
    """Return all photos, sorted by name. Raises DatasetError if the folder is not UTKFace."""
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    items = [_photo(name) for name in names]
    check_names(root, items, "names like 25_1_2_20170116174525125.jpg.chip.jpg", "UTKFace")
    return Listing(root, items)


def _photo(name: str) -> SourceItem:
    match = _NAME.fullmatch(name)
    if not match:
        return reject_name(name, "", "the name is not AGE_SEX_RACE_DATE.jpg.chip.jpg")
    age = int(match[1])
    if age > OLDEST:
        return RejectedPhoto(name, match[1], f"the age is above {OLDEST}")
    return SourcePhoto(
        source=name,
        age_low=age,
        age_high=age,
        sex=SEXES[int(match[2])],
        groups=(("race", RACES[int(match[3])]),),
    )
