"""A CSV table that a person or a program wrote: its encoding, its delimiter and its rows."""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from halnet.errors import DatasetError

DELIMITERS = (",", ";", "\t")
LAST_RESORT = "latin-1"  # every byte is a character in it, so it never fails
_BYTES = 1 << 20  # bytes that are read at a time
_MARKS = {  # byte order marks, at the beginning of a file
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\f\r")  # bytes that no text contains


@dataclass(frozen=True)
class CsvTable:
    """A CSV file. Its rows are read one at a time, so a long table needs no memory."""

    path: Path
    encoding: str
    delimiter: str
    columns: tuple[str, ...]  # the names in the first row, without spaces around them

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the line and the fields of each row that is not empty.

        Raises DatasetError if the file cannot be read as a table.
        """
        with open(self.path, encoding=self.encoding, newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter)
            try:
                next(reader)
                for row in reader:
                    if row:
                        yield reader.line_num, row
            except (csv.Error, UnicodeError) as error:
                raise DatasetError(
                    f"{self.path}: expected a CSV table, found a damaged row after line "
                    f"{reader.line_num} ({error}); correct the file"
                ) from error


def open_table(path: Path) -> CsvTable:
    """Return a CSV table in UTF-8, UTF-16 or Latin-1, with commas, semicolons or tabs.

    UTF-16 needs its byte order mark. A file that is neither UTF-8 nor UTF-16 is read as Latin-1.
    Raises DatasetError if the file cannot be read or is not text.
    """
    try:
        encoding = _detect_encoding(path)
        with open(path, encoding=encoding, newline="") as file:
            line = file.readline(_BYTES)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged UTF-16"
        raise DatasetError(
            f"{path}: expected a CSV file, found none that can be read ({reason}); name a CSV file"
        ) from error
    if not line.strip():
        raise DatasetError(
            f"{path}: expected a CSV file with the names of its columns in the first line, found "
            f"{'an empty line' if line else 'an empty file'}; name another file"
        )
    names = {mark: next(csv.reader([line], delimiter=mark)) for mark in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda mark: len(names[mark]))
    columns = tuple(name.strip() for name in names[delimiter])
    return CsvTable(path, encoding, delimiter, columns)


def _detect_encoding(path: Path) -> str:
    with open(path, "rb") as file:
        data = file.read(_BYTES)
        for mark, encoding in _MARKS.items():
            if data.startswith(mark):
                return encoding
        if _CONTROL.intersection(data):
            raise DatasetError(
                f"{path}: expected a CSV file, found a file that is not text; save the table as "
                "CSV in UTF-8"
            )
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while data:
                decoder.decode(data)
                data = file.read(_BYTES)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return LAST_RESORT
    return "utf-8"
