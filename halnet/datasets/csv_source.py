"""Labelled photos of one's own: a CSV table that lists them, with paths relative to its folder."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from halnet.datasets.csv_table import LAST_RESORT, CsvTable, open_table
from halnet.datasets.source_photo import OLDEST, Listing, RejectedPhoto, SourceItem, SourcePhoto
from halnet.errors import DatasetError

SEXES = {
    **dict.fromkeys(("female", "f", "woman", "w"), "female"),
    **dict.fromkeys(("male", "m", "man"), "male"),
    **dict.fromkeys(("", "unknown"), ""),
}
PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    "test": "test",
    "": "",
}


@dataclass(frozen=True)
class CsvColumns:
    """Names of the columns. A table needs `path`, and `age` or both `age_low` and `age_high`."""

    path: str = "path"  # of the photo, relative to the folder of the CSV file
    age: str = "age"  # years; where it is empty, `age_low` and `age_high` count
    age_low: str = "age_low"  # years, the lowest age that the label allows
    age_high: str = "age_high"  # years, the highest one
    sex: str = "sex"  # female, male or empty
    person: str = "person"  # photos of one person stay in one part of the split
    split: str = "split"  # train, val, test or empty


def list_csv(path: Path, columns: CsvColumns | None = None) -> Listing:
    """Return the photos of a CSV file, in its order. All other columns are groups.

    The file is read anew each time that the listing is iterated. Raises DatasetError if it is not a
    table with the columns and at least one row.
    """
    table = open_table(path)
    found = _find_columns(table, columns or CsvColumns())
    if next(table.rows(), None) is None:
        raise DatasetError(
            f"{path}: expected a row for each photo, found no row after the names of the columns; "
            "add rows, or name another file"
        )
    return Listing(path.parent, _Rows(table, found))


def _find_columns(table: CsvTable, names: CsvColumns) -> dict[str, int]:
    """Return the positions of the columns that the table has, by the field of CsvColumns."""
    repeated = {name for name in table.columns if name and table.columns.count(name) > 1}
    if repeated:
        raise DatasetError(
            f"{table.path}: expected columns with different names, found several columns "
            f"{', '.join(sorted(repeated))}; rename them"
        )
    found = {
        field: table.columns.index(name)
        for field, name in asdict(names).items()
        if name in table.columns
    }
    renamed = [
        name
        for field, name in asdict(names).items()
        if name != getattr(CsvColumns, field) and field not in found
    ]
    if (
        renamed
        or "path" not in found
        or not ("age" in found or {"age_low", "age_high"} <= set(found))
    ):
        expected = ", ".join(renamed) or (
            f"{names.path}, and {names.age} or both {names.age_low} and {names.age_high}"
        )
        raise DatasetError(
            f"{table.path}: expected a table with the columns {expected}, found the columns "
            f"{', '.join(table.columns)}; rename them, or name yours with --path-column, "
            "--age-column and similar options"
        )
    return found


@dataclass(frozen=True)
class _Rows:
    """The rows of a table as photos, read one at a time."""

    table: CsvTable
    columns: dict[str, int]

    def __iter__(self) -> Iterator[SourceItem]:
        taken = set(self.columns.values())
        groups = [(i, name) for i, name in enumerate(self.table.columns) if name and i not in taken]
        missing = "the file does not exist"
        if self.table.encoding == LAST_RESORT:
            missing += " (the CSV file is not UTF-8 and was read as Latin-1)"
        root = os.path.abspath(self.table.path.parent)
        seen: set[str] = set()
        for line, row in self.table.rows():
            item = self._photo(line, row, groups)
            if isinstance(item, SourcePhoto):
                reason = ""
                if item.source in seen:
                    reason = "the table lists the photo more than once"
                elif not os.path.isfile(f"{root}/{item.source}"):
                    reason = missing
                else:
                    seen.add(item.source)
                if reason:
                    item = RejectedPhoto(item.source, self._age(row), reason)
            yield item

    def _photo(self, line: int, row: Sequence[str], groups: list[tuple[int, str]]) -> SourceItem:
        path = self._field(row, "path")
        age, name = self._age(row), path or f"line {line}"
        if len(row) > len(self.table.columns):
            return RejectedPhoto(name, age, "the row has more fields than there are columns")
        try:
            source = _relative(path)
            low, high = self._range(row)
            sex = _known(SEXES, self._field(row, "sex"), "the sex is not female, male or empty")
            split = _known(PARTS, self._field(row, "split"), "the split is not train, val or test")
        except _RowError as error:
            return RejectedPhoto(name, age, str(error))
        return SourcePhoto(
            source,
            low,
            high,
            sex,
            self._field(row, "person"),
            tuple((title, row[i].strip()) for i, title in groups if i < len(row) and row[i]),
            split,
        )

    def _field(self, row: Sequence[str], name: str) -> str:
        """Return a field without spaces around it; "" if the row or the table lacks it."""
        index = self.columns.get(name)
        return "" if index is None or index >= len(row) else row[index].strip()

    def _age(self, row: Sequence[str]) -> str:
        """Return the age or the range of ages as the table states it."""
        low, high = self._field(row, "age_low"), self._field(row, "age_high")
        return self._field(row, "age") or (f"{low}-{high}" if low or high else "")

    def _range(self, row: Sequence[str]) -> tuple[int, int]:
        age = self._field(row, "age")
        if age:
            return _years(age), _years(age)
        low, high = _years(self._field(row, "age_low")), _years(self._field(row, "age_high"))
        if low > high:
            raise _RowError("the lowest age is above the highest age")
        return low, high


class _RowError(Exception):
    """The reason why a row is rejected."""


def _years(text: str) -> int:
    """Return an age in completed years: 30 for "30", "30.0" and "30.9"."""
    if not text:
        raise _RowError("the age is empty")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _RowError("the age is not a number")
    if value < 0:
        raise _RowError("the age is below 0")
    if value > OLDEST:
        raise _RowError(f"the age is above {OLDEST}")
    return int(value)


def _relative(path: str) -> str:
    """Return a path relative to the folder of the table, without "." and ".." in it."""
    if not path:
        raise _RowError("the path is empty")
    source = os.path.normpath(path)
    if "\0" in source or source == ".":
        raise _RowError("the path is not the path of a file")
    if source.startswith("/"):
        raise _RowError("the path is absolute, not relative to the folder of the CSV file")
    if source == ".." or source.startswith("../"):
        raise _RowError("the path leads out of the folder of the CSV file")
    return source


def _known(names: dict[str, str], text: str, reason: str) -> str:
    found = names.get(text.lower())
    if found is None:
        raise _RowError(reason)
    return found
