"""Result files: the results of many photos as CSV or JSON lines.

Each result is written as soon as it is known, and a later run can continue a file that an
interrupted run left. It predicts the last photo in the file again, since the file may hold only a
part of its result.
"""

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

from halnet.batches import PhotoResult, chances
from halnet.closing import Closing
from halnet.errors import ConfigError
from halnet.faces.quality import Quality
from halnet.files import NAME_ERRORS, csv_text, write_text
from halnet.json_text import parse_json
from halnet.results import FORMAT
from halnet.runtimes.base import RuntimeSpec

NO_FACE = "no face found"
COLUMNS = (
    *("photo", "time", "face", "age", "stddev", "low", "high", "level"),
    *("x", "y", "width", "height", "score", "turned", "track"),
    *("model", "error", "format"),
)
_TEXTS = ("photo", "model", "error")
_WHOLE_NUMBERS = ("face", "turned", "track", "format")
AT_LEAST = "at_least_"  # begins the names of columns with the probability of an age or more
QUALITY = "quality_"  # begins the names of columns with the numbers of `Quality`
QUALITY_NAMES = tuple(entry.name for entry in fields(Quality))
REQUIRED = ("photo", "level", "model")  # columns that a file needs to be continued
STDOUT = frozenset({Path("-"), Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1")})


def model_name(spec: RuntimeSpec) -> str:
    """Return the name that results give to their model: its checkpoint's hash and its precision."""
    return f"{spec.metadata.checkpoint_sha256[:12]} {spec.metadata.precision}"


def name_columns(at_least: Sequence[int] = (), quality: bool = False) -> tuple[str, ...]:
    """Return COLUMNS, and a column for the probability of each of these ages or more.

    With `quality`, there is also a column for each number of `Quality`.
    """
    numbers = QUALITY_NAMES if quality else ()
    return (
        *COLUMNS,
        *(f"{AT_LEAST}{years}" for years in at_least),
        *(f"{QUALITY}{name}" for name in numbers),
    )


def column_type(name: str) -> type[str] | type[int] | type[float]:
    """Return the type of the values in a column of `name_columns`."""
    if name in _TEXTS:
        return str
    return int if name in _WHOLE_NUMBERS else float


def percent_text(probability: float) -> str:
    """Return a probability, 0 to 1, as whole percent; one that is not certain is not called so."""
    if probability < 0.01:
        return "below 1 %"
    return "above 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def to_rows(
    result: PhotoResult, level: float, model: str, at_least: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Return one row for each face, with values for the columns of `name_columns`.

    Ages are in years, boxes in pixels. `face` counts from 1, which is the largest face. `time` is
    in seconds since the start of a video. `turned` and `track` are those of `Face`, and `format` is
    the version of the row. `at_least_18` is the probability of being 18 or older, for the ages
    `at_least`. `quality_sharpness` is a number of `Face.quality`, if it was measured. A result
    without faces gives one row with an `error`.
    """
    common = {"photo": str(result.photo), "level": level, "model": model, "format": FORMAT}
    if result.time is not None:
        common["time"] = round(result.time, 3)
    rows = []
    for index, face in enumerate(result.faces, 1):
        values = face.to_dict(level)
        low, high = values["interval"]
        x, y, width, height = values["box"]
        kept = ("age", "stddev", "score", "turned", "track")
        found = {key: values[key] for key in kept}
        box = {"x": x, "y": y, "width": width, "height": height}
        likely = {f"{AT_LEAST}{years}": p for years, p in chances(face, at_least).items()}
        numbers = {f"{QUALITY}{name}": n for name, n in (values["quality"] or {}).items()}
        ends = {"low": low, "high": high}
        rows.append({**common, "face": index, **found, **ends, **box, **likely, **numbers})
    return rows or [{**common, "error": result.error or NO_FACE}]


def to_csv(results: Iterable[PhotoResult], level: float, model: str) -> str:
    """Return results as CSV text with one row for each face; see `to_rows`."""
    return csv_text(COLUMNS, (row for result in results for row in to_rows(result, level, model)))


def to_entry(
    result: PhotoResult, level: float, model: str, at_least: Sequence[int] = ()
) -> dict[str, Any]:
    """Return a result as JSON-ready values, together with the level and the name of the model."""
    return {**result.to_dict(level, at_least), "level": level, "model": model}


def is_stdout(path: Path | None) -> bool:
    """Return whether a result file is standard output: "-", or its name among the devices."""
    return path in STDOUT


class ResultFile(Closing):
    """A CSV or JSON lines file to which results are appended. Use it as a context manager.

    `kind` is "csv" or "jsonl". The path "-" stands for standard output. A file that exists is
    continued if `resume` is true. Then `done` has the names of the photos whose results are
    complete in it, and the result of the last photo is removed, since it may be incomplete. The
    columns of a CSV file are read by name: rows of an older version stay as they are, with nothing
    in the columns that they lack, and columns that halnet does not know are kept.

    With `quality`, a CSV file has a column for each number of `Face.quality`.

    Raises ConfigError for a file that exists if `resume` is false, for a file that was written with
    another model, level, ages `at_least` or `quality` or by a newer version, for a file of another
    kind, and for a pipe or device that should be continued.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        level: float,
        model: str,
        resume: bool,
        at_least: Sequence[int] = (),
        quality: bool = False,
    ) -> None:
        self._kind = kind
        self._level = level
        self._model = model
        self._at_least = at_least
        self._quality = quality
        self._columns: Sequence[str] = name_columns(at_least, quality)
        self.done: frozenset[str] = frozenset()
        self._file: BinaryIO
        is_stream = is_stdout(path) or (path.exists() and not (path.is_file() or path.is_dir()))
        if is_stream and resume:
            raise ConfigError(
                f"{path}: expected a file to continue, found a pipe or device, which keeps no "
                "results; leave out --resume, or name a file"
            )
        if is_stdout(path):
            sys.stdout.flush()
            self._file = sys.stdout.buffer
            self._close = self._file.flush
        else:
            has_content = not is_stream and path.exists() and path.stat().st_size > 0
            if has_content and not resume:
                raise ConfigError(f"{path}: exists already; add --resume to continue it")
            if has_content:
                self.done = self._remove_last_photo(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb" if is_stream else "ab")
            self._close = self._file.close
        if kind == "csv" and (is_stream or path.stat().st_size == 0):
            self._append(csv_text(self._columns, []))

    def write(self, result: PhotoResult) -> None:
        """Append a result, unless its photo is in `done`. It is in the file when this returns."""
        if str(result.photo) in self.done:
            return
        if self._kind == "csv":
            rows = to_rows(result, self._level, self._model, self._at_least)
            self._append(csv_text(self._columns, rows, header=False))
        else:
            entry = to_entry(result, self._level, self._model, self._at_least)
            self._append(_jsonl_text([entry]))

    def close(self) -> None:
        """Close the file."""
        self._close()

    def _append(self, text: str) -> None:
        self._file.write(text.encode("utf-8", NAME_ERRORS))
        self._file.flush()

    def _remove_last_photo(self, path: Path) -> frozenset[str]:
        """Remove the last photo from a file, and return the names of the photos that stay in it."""
        with path.open(encoding="utf-8", errors=NAME_ERRORS, newline="") as file:
            text = file.read()
        complete = text[: text.rfind("\n") + 1]  # without a last line that was cut off
        try:
            entries = self._read_csv(complete) if self._kind == "csv" else _read_jsonl(complete)
            for entry in entries:
                self._check_origin(path, entry)
                self._check_ages(path, entry)
                self._check_quality(path, entry)
        except (csv.Error, ValueError, TypeError) as error:
            raise ConfigError(
                f"{path}: expected a file that halnet predict wrote, found another one ({error}); "
                "name another file"
            ) from error
        kept = [entry for entry in entries if entry["photo"] != entries[-1]["photo"]]
        is_csv = self._kind == "csv"
        write_text(path, csv_text(self._columns, kept) if is_csv else _jsonl_text(kept))
        return frozenset(entry["photo"] for entry in kept)

    def _read_csv(self, text: str) -> list[dict[str, Any]]:
        """Return the rows of a CSV file, and take over the columns that halnet does not know."""
        if not text:
            return []
        reader = csv.DictReader(io.StringIO(text, newline=""))
        columns = reader.fieldnames or ()
        missing = [name for name in REQUIRED if name not in columns]
        if missing:
            raise ValueError(f"it has no column {', '.join(missing)}")
        self._columns = tuple(dict.fromkeys((*self._columns, *columns)))
        rows = list(reader)
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("a row has too many or too few fields")
        return rows

    def _check_origin(self, path: Path, entry: dict[str, Any]) -> None:
        """Raise ConfigError if an entry was made with another model, level or newer version."""
        model, level, version = entry.get("model"), entry.get("level"), entry.get("format")
        if int(version or 1) > FORMAT:
            raise ConfigError(
                f"{path}: expected results of format {FORMAT} or older, found format {version}, "
                "which a newer halnet wrote; update halnet, or name another file"
            )
        if (model, float(level or 0)) != (self._model, self._level):
            raise ConfigError(
                f"{path}: expected results of the model {self._model} with level {self._level:g}, "
                f"found results of the model {model} with level {level}; name another file"
            )

    def _check_ages(self, path: Path, entry: dict[str, Any]) -> None:
        """Raise ConfigError if an entry has probabilities of other ages than are asked for."""
        found = _list_ages(entry)
        if found is not None and found != {str(years) for years in self._at_least}:
            raise ConfigError(
                f"{path}: expected {_describe_ages(map(str, self._at_least))}, found "
                f"{_describe_ages(found)}; repeat the options --at-least of the first run, or name "
                "another file"
            )

    def _check_quality(self, path: Path, entry: dict[str, Any]) -> None:
        """Raise ConfigError if an entry has quality numbers and none are asked for, or not."""
        found = _has_quality(entry)
        if found is not None and found != self._quality:
            wanted, other = ("with", "without") if self._quality else ("without", "with")
            raise ConfigError(
                f"{path}: expected results {wanted} quality numbers, found some {other} them; "
                f"{'leave out' if self._quality else 'add'} --quality as in the first run, or name "
                "another file"
            )


def _has_quality(entry: dict[str, Any]) -> bool | None:
    """Return whether an entry has the quality numbers of faces; None if it does not show it."""
    if "faces" not in entry:
        return any(f"{QUALITY}{name}" in entry for name in QUALITY_NAMES)
    return entry["faces"][0].get("quality") is not None if entry["faces"] else None


def _list_ages(entry: dict[str, Any]) -> set[str] | None:
    """Return the ages of which an entry has probabilities; None if it does not show them.

    A row of a CSV file shows them by the names of its columns, and an entry of a JSON lines file by
    its faces. Raises ValueError for an entry that halnet did not write.
    """
    if "faces" not in entry:
        return {name.removeprefix(AT_LEAST) for name in entry if name.startswith(AT_LEAST)}
    faces = entry["faces"]
    if not (isinstance(faces, list) and all(isinstance(face, dict) for face in faces)):
        raise ValueError("not every line has a list of faces")
    return set(faces[0].get("at_least", ())) if faces else None


def _describe_ages(ages: Iterable[str]) -> str:
    names = sorted(ages, key=lambda name: (len(name), name))
    return f"probabilities of the ages {', '.join(names)} or more" if names else "no probabilities"


def _jsonl_text(entries: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def _read_jsonl(text: str) -> list[dict[str, Any]]:
    entries = [parse_json(line) for line in text.split("\n") if line.strip()]
    if not all(
        isinstance(entry, dict) and isinstance(entry.get("photo"), str) for entry in entries
    ):
        raise ValueError("not every line has an object with a photo")
    return entries
