"""The journal of a run: a file that lets an interrupted run continue."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from halnet.closing import Closing
from halnet.datasets.cropping import PreparedPhoto
from halnet.errors import DatasetError
from halnet.files import write_text
from halnet.json_text import parse_json


class Journal(Closing):
    """The results that are finished, in the order of the dataset, one line for each.

    The first line states the origin. The journal of another origin is replaced. Results stay in the
    file, so memory does not grow with their number.
    """

    def __init__(self, path: Path, origin: Mapping[str, Any]) -> None:
        self._path = path
        header = json.dumps(origin) + "\n"
        self._count = _count_results(path, header)
        if not self._count:
            write_text(path, header)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def append(self, result: PreparedPhoto) -> None:
        """Write one result, so that it is kept if the program ends."""
        self._file.write(json.dumps(asdict(result)) + "\n")
        self._file.flush()
        self._count += 1

    def __iter__(self) -> Iterator[PreparedPhoto]:
        with open(self._path, "rb") as file:
            next(file)
            for number, line in enumerate(file, 2):
                try:
                    result = PreparedPhoto(**parse_json(line))
                except (ValueError, TypeError) as error:
                    raise DatasetError(
                        f"{self._path}: line {number} is damaged ({error}); delete the file and "
                        "run halnet prepare into this folder again"
                    ) from error
                yield result


def _count_results(path: Path, header: str) -> int:
    """Return the number of results in a journal, and remove a last line that was cut off.

    It is 0 for the journal of another origin.
    """
    if not path.exists():
        return 0
    lines, size = 0, 0
    with open(path, "rb") as file:
        if file.readline() != header.encode():
            return 0
        size = file.tell()
        for line in file:
            if line.endswith(b"\n"):
                lines, size = lines + 1, size + len(line)
    os.truncate(path, size)
    return lines
