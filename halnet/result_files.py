"""Result files: what a predictor said of many photos, as CSV or JSON lines, written as it comes.

A file that an interrupted run left is gone on with; a line cut off in the middle is done again.
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
from halnet.files import NAMES, csv_text, write_text
from halnet.runtimes.base import RuntimeSpec

NO_FACE = "no face found"
COLUMNS = (
    *("photo", "time", "face", "age", "stddev", "low", "high", "level"),
    *("x", "y", "width", "height", "score", "model", "error"),
)


def model_name(spec: RuntimeSpec) -> str:
    """Return what says which model made a result: checkpoint and precision."""
    return f"{spec.metadata.checkpoint_sha256[:12]} {spec.metadata.precision}"


def to_rows(result: PhotoResult, level: float, model: str) -> list[dict[str, Any]]:
    """Return a row a face, or one that says why there is none; see COLUMNS.

    Years and pixels; `face` counts from 1, the largest; `time` is in seconds into a video.
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
    """Return results as CSV text, a row a face; see `to_rows`."""
    return csv_text(COLUMNS, (row for result in results for row in to_rows(result, level, model)))


def to_entry(result: PhotoResult, level: float, model: str) -> dict[str, Any]:
    """Return a result as JSON-ready values, with what made it."""
    return {**result.to_dict(level), "level": level, "model": model}


class ResultFile(Closing):
    """A CSV or JSON lines file that results are appended to. Use it as a context manager.

    `kind` is csv or jsonl. Raises ConfigError for a file that is there already, unless `resume`:
    then `done` names the photos that are in it; one that the last line belongs to is done again. It
    must have been begun with the same model and level.
    """

    def __init__(self, path: Path, kind: str, level: float, model: str, resume: bool) -> None:
        self._kind = kind
        self._level = level
        self._model = model
        self.done: frozenset[str] = frozenset()
        if path.exists() and not resume:
            raise ConfigError(f"{path}: is there already; --resume goes on with it")
        if path.exists():
            self.done = self._take_up(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8", errors=NAMES, newline="")
        if kind == "csv" and path.stat().st_size == 0:
            self._append(csv_text(COLUMNS, []))

    def write(self, result: PhotoResult) -> None:
        """Append what became of a photo that is not in the file; it is on disk on return."""
        if str(result.photo) in self.done:
            return
        if self._kind == "csv":
            rows = to_rows(result, self._level, self._model)
            self._append(csv_text(COLUMNS, rows, header=False))
        else:
            self._append(_jsonl_text([to_entry(result, self._level, self._model)]))

    def _append(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def _take_up(self, path: Path) -> frozenset[str]:
        """Cut off the photo that was under way; return the names of the others."""
        text = path.read_text(encoding="utf-8", errors=NAMES)
        whole = text[: text.rfind("\n") + 1]  # a line may be cut off
        try:
            entries = _read_csv(whole) if self._kind == "csv" else _read_jsonl(whole)
        except (csv.Error, ValueError) as error:
            raise ConfigError(f"{path}: not a file that this command wrote ({error})") from error
        for entry in entries[:1]:
            begun = entry.get("model"), float(entry.get("level") or 0)
            if begun != (self._model, self._level):
                raise ConfigError(
                    f"{path}: was begun with the model {begun[0]} and level {begun[1]:g}, found "
                    f"{self._model} and {self._level:g} now; name another file"
                )
        kept = [entry for entry in entries if entry["photo"] != entries[-1]["photo"]]
        write_text(path, csv_text(COLUMNS, kept) if self._kind == "csv" else _jsonl_text(kept))
        return frozenset(entry["photo"] for entry in kept)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read_csv(text: str) -> list[dict[str, Any]]:
    if not text:
        return []
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"expected the columns {', '.join(COLUMNS)}")
    return list(reader)


def _jsonl_text(entries: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def _read_jsonl(text: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in text.splitlines()]
    if not all(isinstance(entry, dict) and "photo" in entry for entry in entries):
        raise ValueError("expected an object with a photo on each line")
    return entries
