"""Parts: what a source consists of. A part is one photo, or a row group of a Parquet file.

The list of all parts is itself a Parquet file. Each of its row groups is a shard: the parts of
which one result file has the faces. A worker reads the row group of its shard only.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from glob import has_magic
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from halnet.batch.storage import Storage, is_address, open_storage, reason
from halnet.errors import ConfigError
from halnet.parallel import map_in_order
from halnet.photos.images import SUFFIXES
from halnet.photos.photo_files import ALL, LINKS, MACOS, OTHERS, VIDEOS, Reason, is_mac_name
from halnet.videos.video import is_video

PARQUET = frozenset({".parquet", ".pq"})
SHARD = 1000  # photos in each result file, if the source has enough of them
SHARDS = 4  # result files for each worker, if the source has fewer: so they end at the same time
READERS = 16  # Parquet files whose description is read at the same time


@dataclass(frozen=True)
class Part:
    """One photo, or a row group of a Parquet file with photos."""

    file: str  # name in the storage of the source
    photos: int = 1
    group: int = -1  # number of the row group, counted from 0; -1: the file is a photo
    first: int = 0  # number of the first row of the row group in the file, counted from 0


@dataclass(frozen=True)
class Source:
    """Where photos come from: a storage, and the pattern that the names of its files match."""

    storage: Storage
    pattern: tuple[str, ...]  # parts of a pattern, such as ("**", "*"); empty: a single file
    column: str | None  # of Parquet files, with the bytes of a photo in each row; None: photos
    id_column: str | None  # with the name of each photo; None: the file and the number of the row

    @property
    def name(self) -> str:
        """The address or path, without a password."""
        return "/".join((self.storage.name, *(() if self.pattern in ((), ALL) else self.pattern)))

    def includes(self, folder: Storage) -> bool:
        """Return whether the result files of a folder would belong to this source."""
        here, there = (_place(storage) for storage in (self.storage, folder))
        if not there.is_relative_to(here):
            return False
        return _matches((*there.relative_to(here).parts, "000000.parquet"), self.pattern)


def open_source(text: str, column: str | None, id_column: str | None) -> Source:
    """Return what a path, an address or a pattern of one of these stands for.

    Raises ConfigError if there is nothing, if it cannot be read, and if it is a Parquet file or
    `column` is missing for it; RuntimeUnavailableError without pyarrow.
    """
    place, options = text, ""
    if is_address(text):
        place, mark, options = text.partition("?")
        options = mark + options
    start, pattern = _split_pattern(place)
    storage = open_storage(start + options)
    try:
        if not pattern and not storage.is_file():
            pattern = ALL
    except OSError as error:
        raise _unreadable(storage.name, error) from error
    if not pattern and column is None and _suffix(storage.name) in PARQUET:
        raise ConfigError(
            f"{storage.name}: expected photos, found a Parquet file; name the column with the "
            "bytes of the photos with --column"
        )
    return Source(storage, pattern, column, id_column)


def find_parts(source: Source, left_out: Counter[Reason]) -> Iterator[Part]:
    """Yield the parts of a source, and count what is left out of it.

    Raises ConfigError if a folder or bucket cannot be read, and for a Parquet file that has not the
    columns that the source names.
    """
    files = _matching_files(source, left_out)
    if source.column is None:
        yield from map(Part, files)
        return
    read = partial(_row_groups, source)
    for groups in map_in_order(ThreadPoolExecutor(READERS), read, files, 2 * READERS):
        yield from groups


def shard_size(parts: Iterable[Part], workers: int) -> tuple[int, Iterator[Part]]:
    """Return how many photos a shard has, so that all workers have work; and the same parts."""
    remaining = iter(parts)
    first: list[Part] = []
    photos, enough = 0, SHARD * SHARDS * workers
    while photos < enough and (part := next(remaining, None)):
        first.append(part)
        photos += part.photos
    size = math.ceil(photos / (SHARDS * workers))
    return min(SHARD, max(1, size)), chain(first, remaining)


def shards(parts: Iterable[Part], size: int) -> Iterator[list[Part]]:
    """Yield the parts of each shard: so many that they have at least `size` photos together."""
    shard: list[Part] = []
    photos = 0
    for part in parts:
        shard.append(part)
        photos += part.photos
        if photos >= size:
            yield shard
            shard, photos = [], 0
    if shard:
        yield shard


def to_table(parts: Iterable[Part]) -> Any:
    """Return the parts as a pyarrow table. Names of files keep their bytes."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("file", pa.binary()),
            *((name, pa.int64()) for name in ("photos", "group", "first")),
        ]
    )
    rows = [{**vars(part), "file": os.fsencode(part.file)} for part in parts]
    return pa.Table.from_pylist(rows, schema)


def from_table(table: Any) -> list[Part]:
    """Return the parts in a table of `to_table`."""
    return [Part(**{**row, "file": os.fsdecode(row["file"])}) for row in table.to_pylist()]


def split_column(names: Sequence[str], column: str) -> list[str]:
    """Return the name of a column and those of the fields in it, such as "image" and "bytes".

    `names` are those of all columns: one of them may itself have a dot.
    """
    return [column] if column in names else column.split(".")


def image_type(schema: Any, column: str) -> Any:
    """Return the type of a column, such as "image" or "image.bytes"; None if there is none."""
    name, *fields = split_column(schema.names, column)
    found: Any = schema.field(name).type if name in schema.names else None
    for field in fields:
        index = found.get_field_index(field) if hasattr(found, "get_field_index") else -1
        found = found.field(index).type if index >= 0 else None
    return found


def _place(storage: Storage) -> PurePosixPath:
    return PurePosixPath(os.path.realpath(storage.folder) if storage.folder else storage.name)


def _split_pattern(place: str) -> tuple[str, tuple[str, ...]]:
    """Return the folder in which a pattern begins, and the parts of the pattern."""
    parts = place.split("/")
    first = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts))
    is_pattern = first < len(parts) and (is_address(place) or not os.path.lexists(place))
    if not is_pattern:  # a file may have this very name
        return place, ()
    return "/".join(parts[:first]) or ("/" if place.startswith("/") else "."), tuple(parts[first:])


def _matching_files(source: Source, left_out: Counter[Reason]) -> Iterator[str]:
    if not source.pattern:
        yield ""
        return
    links = Counter[Reason]()
    try:
        for file in source.storage.files(lambda: links.update([LINKS])):
            parts = tuple(file.split("/"))
            if not _matches(parts, source.pattern):
                continue
            why = _judge(file, source.column is not None)
            if why is None:
                yield file
            else:
                left_out[why] += 1
    except OSError as error:
        raise _unreadable(source.name, error) from error
    left_out.update(links)


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether the parts of a name match those of a pattern, in which ** is any folders."""
    if pattern == ALL:
        return True
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        rest = pattern[1:] or ("*",)
        return any(_matches(parts[start:], rest) for start in range(len(parts)))
    is_hidden = parts[0].startswith(".") and not pattern[0].startswith(".")
    return not is_hidden and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _judge(file: str, is_table: bool) -> Reason | None:
    """Return why a file is left out, by its name; None for a photo, or for a Parquet file."""
    suffix, path = _suffix(file), PurePosixPath(file)
    if is_mac_name(path):
        return MACOS
    if is_table:
        return None if suffix in PARQUET and not path.name.startswith(("_", ".")) else OTHERS
    if suffix in SUFFIXES:
        return None
    return VIDEOS if is_video(path.name) else OTHERS


def _row_groups(source: Source, file: str) -> list[Part]:
    """Return the parts of a Parquet file. Raises ConfigError for other columns than are wanted."""
    from pyarrow.parquet import ParquetFile

    name = source.storage.name_of(file)
    try:
        with source.storage.open(file) as opened, ParquetFile(opened) as parquet:
            _check_columns(source, name, parquet.schema_arrow)
            counts = [
                parquet.metadata.row_group(group).num_rows
                for group in range(parquet.metadata.num_row_groups)
            ]
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise _unreadable(name, error) from error
    firsts = [sum(counts[:group]) for group in range(len(counts))]
    return [Part(file, *part) for part in zip(counts, range(len(counts)), firsts, strict=True)]


def _check_columns(source: Source, name: str, schema: Any) -> None:
    import pyarrow as pa

    column = source.column or ""
    for wanted_name in (split_column(schema.names, column)[0], source.id_column):
        if schema.names.count(wanted_name) > 1:
            raise ConfigError(
                f"{name}: expected one column {wanted_name}, found several of this name; give the "
                "others another name"
            )
    wanted = (pa.binary(), pa.large_binary())
    found = image_type(schema, column)
    if found not in wanted:
        what = "no such column" if found is None else f"a column of the type {found}"
        raise ConfigError(
            f"{name}: expected the bytes of photos (binary) in the column {source.column}, found "
            f"{what}; name another column with --column. The columns are: "
            f"{', '.join(f'{field.name} ({field.type})' for field in schema)}"
        )
    if source.id_column is not None and source.id_column not in schema.names:
        raise ConfigError(
            f"{name}: expected the names of photos in the column {source.id_column}, found no such "
            f"column; name another one with --id. The columns are: {', '.join(schema.names)}"
        )


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _unreadable(name: str, error: Exception) -> ConfigError:
    cure = "the name and the permissions"
    if is_address(name):
        cure = "the name, the permissions and, for a bucket, the credentials and AWS_ENDPOINT_URL"
    return ConfigError(f"{name}: cannot be read: {reason(error)}; check {cure}")
