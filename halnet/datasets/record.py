"""Records: the photos that the index of a prepared dataset lists."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from halnet.ages import AGE_MAX
from halnet.datasets.source_photo import age_text
from halnet.errors import DatasetError
from halnet.files import NAME_ERRORS

GROUP_PREFIX = "group:"  # of the columns of the index that contain groups
MAX_HASH = 2**64 - 1
MAX_SIDE = 2**31 - 1  # pixels
REQUIRED = ("source", "sex", "split")  # columns that the index has in every version, besides ages


@dataclass(frozen=True)
class Record:
    """One photo of the index."""

    source: str  # path relative to the folder of the dataset
    age_low: int  # years, the lowest age that the label allows
    age_high: int  # years, the highest one; equal to `age_low` if the age is exact
    sex: str = ""  # "female", "male" or ""
    person: str = ""  # name or number of the person, or ""
    split: str = ""  # "train", "val" or "test"
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)  # such as race: "Black"
    hash: int | None = None  # of the crop, 64 bits; None in the index of an older version
    score: float | None = None  # confidence of the detection, 0 to 1
    width: int | None = None  # pixels of the photo
    height: int | None = None
    eye_distance: float | None = None  # pixels of the photo
    landmarks: tuple[float, ...] = ()  # x, y five times, in pixels of the photo
    dataset: str = ""  # name of its dataset in a `DataCollection`

    @property
    def is_exact(self) -> bool:
        """Whether the label is one age, and not a range of ages."""
        return self.age_low == self.age_high

    @property
    def age(self) -> int:
        """The exact age in years. Raises DatasetError if the label is a range."""
        if not self.is_exact:
            raise DatasetError(
                f"{self.source}: expected an exact age, found the range "
                f"{age_text(self.age_low, self.age_high)}; use a dataset with exact ages"
            )
        return self.age_low


def exact_records(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return the records with an exact age. Raises DatasetError if all ages are ranges."""
    exact = tuple(record for record in records if record.is_exact)
    if records and not exact:
        raise DatasetError(
            f"expected photos with exact ages, found ranges for all {len(records)} photos, such as "
            f"{age_text(records[0].age_low, records[0].age_high)}; use a dataset with exact ages"
        )
    return exact


def spread(records: Sequence[Record], limit: int) -> tuple[Record, ...]:
    """Return at most `limit` records, spread evenly; all of them if `limit` is 0."""
    if not limit or limit >= len(records):
        return tuple(records)
    return tuple(records[i * len(records) // limit] for i in range(limit))


def read_index(path: Path) -> tuple[Record, ...]:
    """Return the photos of an index, by the names of its columns.

    Raises DatasetError if the file is missing or damaged.
    """
    try:
        with open(path, encoding="utf-8", errors=NAME_ERRORS, newline="") as file:
            text = file.read()
    except OSError as error:
        raise _damaged(path, f"none that can be read ({error.strerror})") from error
    rows = csv.DictReader(io.StringIO(text, newline=""))
    records = []
    try:
        columns = set(rows.fieldnames or ())
        missing = [name for name in REQUIRED if name not in columns]
        if missing or not ({"age"} <= columns or {"age_low", "age_high"} <= columns):
            raise _damaged(path, f"no column {', '.join(missing) or 'age_low and age_high'}")
        if not text.endswith("\n"):
            raise _damaged(path, "a last line that is cut off")
        for row in rows:
            if None in row or None in row.values():
                raise ValueError("the row has too many or too few fields")
            records.append(_record(row))
    except (ValueError, csv.Error) as error:
        raise _damaged(path, f"a damaged row near line {rows.line_num}") from error
    return tuple(records)


def _damaged(path: Path, found: str) -> DatasetError:
    return DatasetError(
        f"{path}: expected the index of a prepared dataset, found {found}; run halnet prepare into "
        "this folder again, which writes a new index"
    )


def _record(row: dict[str, str]) -> Record:
    """Return the record of a row. Older versions wrote one age and fewer columns."""

    def optional(name: str) -> str | None:
        return row.get(name) or None

    hash_text, landmarks = optional("hash"), optional("landmarks") or ""
    score, eye_distance = optional("score"), optional("eye_distance")
    width, height = optional("width"), optional("height")
    groups = {
        name.removeprefix(GROUP_PREFIX): value
        for name, value in row.items()
        if value and name.startswith(GROUP_PREFIX)
    }
    low, high = (row[name if name in row else "age"] for name in ("age_low", "age_high"))
    return Record(
        source=_source(row["source"]),
        age_low=_integer(low, AGE_MAX),
        age_high=_integer(high, AGE_MAX),
        sex=row["sex"],
        person=optional("person") or "",
        split=row["split"],
        groups=groups,
        hash=_integer(hash_text, MAX_HASH, 16) if hash_text else None,
        score=float(score) if score else None,
        width=_integer(width, MAX_SIDE) if width else None,
        height=_integer(height, MAX_SIDE) if height else None,
        eye_distance=float(eye_distance) if eye_distance else None,
        landmarks=tuple(map(float, landmarks.split())),
    )


def _source(text: str) -> str:
    """Return the path of a photo in its dataset. Raises ValueError for one that leads elsewhere."""
    path = PurePosixPath(text)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise ValueError(f"the source {text!r} is no path in the folder of the dataset")
    return text


def _integer(text: str, maximum: int, base: int = 10) -> int:
    """Return a number from 0 to `maximum`. Raises ValueError for any other text."""
    value = int(text, base)
    if not 0 <= value <= maximum:
        raise ValueError(f"expected a number from 0 to {maximum}, found {value}")
    return value
