"""FairFace [Karkkainen and Joo, WACV 2021].

The folder contains the photos, such as `train/1.jpg`, and tables of labels such as
`fairface_label_train.csv` with the columns `file`, `age`, `gender` and `race`. The age is a range.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from halnet.ages import AGE_MAX
from halnet.datasets.dataset_files import list_files, reject_name
from halnet.datasets.source_photo import Listing, RejectedPhoto, SourceItem, SourcePhoto
from halnet.errors import DatasetError

LABELS = "fairface_label_*.csv"
COLUMNS = ("file", "age", "gender", "race")
RANGES = {  # years, both ends included
    "0-2": (0, 2),
    "3-9": (3, 9),
    **{f"{low}-{low + 9}": (low, low + 9) for low in range(10, 70, 10)},
    "more than 70": (70, AGE_MAX),
}
SEXES = {"Male": "male", "Female": "female"}


def list_fairface(root: Path) -> Listing:
    """Return all photos in the order of the tables, then the files that no table lists.

    Raises DatasetError if the folder is not FairFace.
    """
    tables = sorted(root.glob(LABELS))
    if not tables:
        raise DatasetError(
            f"{root}: expected the FairFace folder with a table {LABELS} in it, found none; name "
            "the right folder, or another dataset with --dataset"
        )
    items = [item for table in tables for item in _read_table(table)]
    if not items:
        raise DatasetError(
            f"{root}: expected a row for each photo in the tables {LABELS}, found no rows; "
            "download them again"
        )
    listed = {item.source for item in items}
    folders = {root / source.split("/")[0] for source in listed if "/" in source}
    unlisted: list[SourceItem] = []
    for folder in sorted(filter(Path.exists, folders)):
        names, left_out = list_files(root, folder)
        reasons = (reject_name(name, "", "no table lists the photo") for name in names)
        unlisted += [reject for reject in reasons if reject.source not in listed]
        unlisted += left_out
    return Listing(root, [*items, *unlisted])


def _read_table(path: Path) -> Iterator[SourceItem]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"{path}: expected the columns {', '.join(COLUMNS)}, found no column "
                    f"{', '.join(missing)}; name the FairFace folder"
                )
            yield from map(_photo, rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path}: expected a table of labels, found a damaged file ({error}); download it again"
        ) from error


def _photo(row: dict[str, str | None]) -> SourceItem:
    source, age, gender, race = (row[name] or "" for name in COLUMNS)
    if age not in RANGES:
        return RejectedPhoto(source, age, "the age group is unknown")
    return SourcePhoto(
        source, *RANGES[age], sex=SEXES.get(gender, ""), groups=(("race", race),) if race else ()
    )
