"""Result files: the results of many photos as CSV or JSON lines.

Each result is written as soon as it is known, and a later run can continue a file that an
interrupted run left. It predicts the last photo in the file again, since the file may hold only a
part of its result.
"""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from halnet.batches import PhotoResult
from halnet.closing import Closing
from halnet.errors import ConfigError
from halnet.files import NAME_ERRORS, csv_text, write_text
from halnet.runtimes.base import RuntimeSpec

NO_FACE = "no face found"
COLUMNS = (
    *("photo", "time", "face", "age", "stddev", "low", "high", "level"),
    *("x", "y", "width", "height", "score", "model", "error"),
)


def model_name(spec: RuntimeSpec) -> str:
    """Return the name that results give to their model: its checkpoint's hash and its precision."""
    return f"{spec.metadata.checkpoint_sha256[:12]} {spec.metadata.precision}"


def to_rows(result: PhotoResult, level: float, model: str) -> list[dict[str, Any]]:
    """Return one row for each face, with values for COLUMNS.

    Ages are in years, boxes in pixels. `face` counts from 1, which is the largest face. `time` is
    in seconds since the start of a video. A result without faces gives one row with an `error`.
    """
    common = {"photo": str(result.photo), "level": level, "model": model}
    if result.time is not None:
        common["time"] = round(result.time, 3)
    rows = []
    for index, face in enumerate(result.faces, 1):
        values = face.to_dict(level)
        low, high = values["interval"]
        x, y, width, height = values["box"]
        found = {key: values[key] for key in ("age", "stddev", "score")}
        box = {"x": x, "y": y, "width": width, "height": height}
        rows.append({**common, "face": index, **found, "low": low, "high": high, **box})
    return rows or [{**common, "error": result.error or NO_FACE}]


def to_csv(results: Iterable[PhotoResult], level: float, model: str) -> str:
    """Return results as CSV text with one row for each face; see `to_rows`."""
    return csv_text(COLUMNS, (row for result in results for row in to_rows(result, level, model)))


def to_entry(result: PhotoResult, level: float, model: str) -> dict[str, Any]:
    """Return a result as JSON-ready values, together with the level and the name of the model."""
    return {**result.to_dict(level), "level": level, "model": model}


class ResultFile(Closing):
    """A CSV or JSON lines file to which results are appended. Use it as a context manager.

    `kind` is "csv" or "jsonl". A file that exists is continued if `resume` is true. Then `done` has
    the names of the photos whose results are complete in it, and the result of the last photo is
    removed, since it may be incomplete.

    Raises ConfigError for a file that exists if `resume` is false, for a file that was written with
    another model or level, and for a file of another kind.
    """

    def __init__(self, path: Path, kind: str, level: float, model: str, resume: bool) -> None:
        self._kind = kind
        self._level = level
        self._model = model
        self.done: frozenset[str] = frozenset()
        if path.exists() and not resume:
            raise ConfigError(f"{path}: exists already; add --resume to continue it")
        if path.exists():
            self.done = self._remove_last_photo(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8", errors=NAME_ERRORS, newline="")
        if kind == "csv" and path.stat().st_size == 0:
            self._append(csv_text(COLUMNS, []))

    def write(self, result: PhotoResult) -> None:
        """Append a result, unless its photo is in `done`. It is in the file when this returns."""
        if str(result.photo) in self.done:
            return
        if self._kind == "csv":
            rows = to_rows(result, self._level, self._model)
            self._append(csv_text(COLUMNS, rows, header=False))
        else:
            self._append(_jsonl_text([to_entry(result, self._level, self._model)]))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def _remove_last_photo(self, path: Path) -> frozenset[str]:
        """Remove the last photo from a file, and return the names of the photos that stay in it."""
        text = path.read_text(encoding="utf-8", errors=NAME_ERRORS)
        complete = text[: text.rfind("\n") + 1]  # without a last line that was cut off
        try:
            entries = _read_csv(complete) if self._kind == "csv" else _read_jsonl(complete)
        except (csv.Error, ValueError) as error:
            raise ConfigError(
                f"{path}: expected a file that halnet predict wrote, found another one ({error}); "
                "name another file"
            ) from error
        for entry in entries[:1]:
            self._check_origin(path, entry)
        kept = [entry for entry in entries if entry["photo"] != entries[-1]["photo"]]
        write_text(path, csv_text(COLUMNS, kept) if self._kind == "csv" else _jsonl_text(kept))
        return frozenset(entry["photo"] for entry in kept)

    def _check_origin(self, path: Path, entry: dict[str, Any]) -> None:
        """Raise ConfigError if an entry was made with another model or level."""
        model, level = entry.get("model"), float(entry.get("level") or 0)
        if (model, level) != (self._model, self._level):
            raise ConfigError(
                f"{path}: expected results of the model {self._model} with level {self._level:g}, "
                f"found results of the model {model} with level {level:g}; name another file"
            )


def _read_csv(text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
    return list(reader)


def _jsonl_text(entries: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def _read_jsonl(text: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in text.splitlines()]
    if not all(isinstance(entry, dict) and "photo" in entry for entry in entries):
        raise ValueError("not every line has an object with a photo")
    return entries
