"""Failure to acquire: photos of the datasets in which halnet prepare found no face."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from halnet.audit.figures import StatedRate
from halnet.audit.schema import about
from halnet.datasets.prepared_dataset import REJECTS_FILE, PreparedDataset, read_summary
from halnet.files import NAME_ERRORS

NO_FACE = "no face found"  # what halnet prepare writes into the file of rejected photos


@dataclass(frozen=True)
class Acquisition:
    """How many photos of a whole dataset have no face that halnet prepare found."""

    dataset: str
    group: str = field(metadata=about("Sex of the people; empty: all of the dataset."))
    missed: StatedRate = field(metadata=about("Photos without a detected face."))


@dataclass(frozen=True)
class Rejected:
    """Photos that halnet prepare left out for another reason than that no face was found."""

    dataset: str
    reason: str
    photos: int = field(metadata=about("Number of photos.", 0))


def read_prepared(name: str, data: PreparedDataset) -> Iterator[Acquisition]:
    """Yield what halnet prepare found in all photos of a dataset, and in those of each sex.

    Yields nothing for a dataset of an older version, whose files do not state the reasons.
    """
    reasons = read_summary(data.root).get("reasons")
    if not isinstance(reasons, dict):
        return
    missed = _count(reasons.get(NO_FACE))
    yield Acquisition(name, "", StatedRate.of(missed, missed + len(data.records)))
    without = _missed_by_sex(data.root / REJECTS_FILE)
    if not without:
        return
    found = Counter(record.sex for record in data.records if record.sex)
    for sex in sorted({*found, *without}):
        yield Acquisition(name, sex, StatedRate.of(without[sex], without[sex] + found[sex]))


def read_rejected(name: str, data: PreparedDataset) -> Iterator[Rejected]:
    """Yield the other reasons for which photos of a dataset were left out."""
    reasons = read_summary(data.root).get("reasons")
    for reason, count in reasons.items() if isinstance(reasons, dict) else ():
        if reason != NO_FACE:
            yield Rejected(name, str(reason), _count(count))


def _missed_by_sex(path: Path) -> Counter[str]:
    """Return the number of photos without a face by sex; empty if the file is missing."""
    if not path.is_file():
        return Counter()
    with open(path, encoding="utf-8", errors=NAME_ERRORS, newline="") as file:
        rows = list(csv.DictReader(file))
    return Counter(row["sex"] for row in rows if row.get("reject") == NO_FACE and row.get("sex"))


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
