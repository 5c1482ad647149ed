"""The result folder of a batch: one Parquet file for each shard, and what the run is to do.

    OUT/000000.parquet         the faces of the first shard, with the columns of predict --csv
    OUT/_halnet/batch.json     the settings of the run (`Plan`), written when the list is complete
    OUT/_halnet/RUN.parquet    the list of all parts of the source (see `halnet.batch.parts`)

Programs that read a folder of Parquet files leave out what begins with "_". Each file is complete
or missing, so a result file that is there is done.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from halnet.batch.config import FORMAT, Plan
from halnet.batch.counts import Counts
from halnet.batch.parts import (
    READERS,
    Part,
    Source,
    find_parts,
    from_table,
    shard_size,
    shards,
    to_table,
)
from halnet.batch.storage import Storage, reason
from halnet.errors import ConfigError
from halnet.files import NAME_ERRORS
from halnet.json_text import parse_json
from halnet.parallel import map_in_order
from halnet.photos.photo_files import Reason
from halnet.result_files import NO_FACE, column_type

LIST_FOLDER = "_halnet"
PLAN_FILE = f"{LIST_FOLDER}/batch.json"


class ResultFolder:
    """The folder into which a batch writes. Raises ConfigError where it cannot be written."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._descriptions: dict[str, Any] = {}  # of the list of each run, as pyarrow has it
        self.name = storage.name

    def read_plan(self) -> Plan | None:
        """Return what the run in this folder is to do; None if there is no run.

        Raises ConfigError for a file that halnet did not write, or that a newer one wrote.
        """
        try:
            if not self._storage.exists(PLAN_FILE):
                return None
            entry = parse_json(self._storage.read(PLAN_FILE))
            version = entry.pop("format")
            plan = Plan(**entry)
        except OSError as error:
            raise ConfigError(
                f"{self.name}: cannot be read: {reason(error)}; check the name, the network and "
                "the permissions, then repeat the command"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"{self._storage.name_of(PLAN_FILE)}: expected what halnet batch writes, found "
                f"another file ({error}); name another folder"
            ) from error
        if version != FORMAT:
            raise ConfigError(
                f"{self._storage.name_of(PLAN_FILE)}: expected format {FORMAT}, found {version}; "
                "update halnet, or name another folder"
            )
        return plan

    def make_plan(
        self, source: Source, settings: dict[str, Any], size: int | None, workers: int = 1
    ) -> Plan:
        """List the source, write the list, and return what is to be done.

        Each shard has `size` photos; None: so many that all workers have work.

        Raises ConfigError if the source cannot be read or has no photos, if this folder cannot be
        written, and if another run has begun here.
        """
        from pyarrow.parquet import ParquetWriter

        left_out = Counter[Reason]()
        photos = []
        run = uuid4().hex
        file = _list_file(run)
        try:
            with self._storage.writing(file) as path:
                schema = to_table([]).schema
                with ParquetWriter(path, schema, compression="zstd") as writer:
                    parts = find_parts(source, left_out)
                    if size is None:
                        size, parts = shard_size(parts, workers)
                    for shard in shards(parts, size):
                        writer.write_table(to_table(shard))
                        photos.append(sum(part.photos for part in shard))
                if not sum(photos):
                    raise ConfigError(_nothing(source, left_out))
            is_loss = any(why.is_loss for why in left_out)
            plan = Plan(
                {**settings, "shard": size},
                photos,
                {why.text: n for why, n in left_out.items()},
                is_loss,
                run,
            )
            self.check_new()
            if self.read_plan() is not None:
                raise self._another_run("name another folder")
            file = PLAN_FILE
            with self._storage.writing(file) as path:
                path.write_text(json.dumps({"format": FORMAT, **asdict(plan)}) + "\n")
        except OSError as error:
            raise self._unwritable(file, error, "") from error
        finally:
            self.remove_empty()  # if the list could not be made
        self.check_run(plan.run)
        self.check_new()  # if writing the plan took long, another run may have come and gone
        return plan

    def check_run(self, run: str) -> None:
        """Raise ConfigError if another run than this one has begun here in the meantime.

        A folder of this machine is locked; a bucket cannot be.
        """
        plan = self.read_plan()
        if plan is None or plan.run != run:
            raise self._another_run("see whether it goes on before you remove anything")

    def _another_run(self, cure: str) -> ConfigError:
        return ConfigError(
            f"{self.name}: expected one run, found that another one has begun here; {cure}"
        )

    def remove_empty(self) -> None:
        """Remove the folder if nothing is in it, since no run has begun."""
        self._storage.remove_empty(LIST_FOLDER)

    def check_new(self) -> None:
        """Raise ConfigError if the results of a new run would be among other files here.

        What begins with "_" or "." is left out by those who read the folder, and may be here.
        """
        others = sorted(name for name in self._names() if not name.startswith(("_", ".")))
        if others:
            raise ConfigError(
                f"{self.name}: expected a new or empty folder, or one that halnet batch wrote, "
                f"found {others[0]} in it; name another folder"
            )

    def done(self) -> frozenset[int]:
        """Return the numbers of the shards whose results are here. Raises ConfigError."""
        files = [Path(name) for name, is_file in self._names().items() if is_file]
        return frozenset(
            int(file.stem) for file in files if file.suffix == ".parquet" and file.stem.isdecimal()
        )

    def _names(self) -> dict[str, bool]:
        try:
            return self._storage.names()
        except OSError as error:
            raise ConfigError(
                f"{self.name}: cannot be read: {reason(error)}; check the name and the permissions"
            ) from error

    def count(self, plan: Plan, shards: Iterable[int]) -> Counts:
        """Return the counts of the results of some shards. Raises ConfigError."""
        total = Counts()
        pool = ThreadPoolExecutor(READERS)
        for counts in map_in_order(pool, partial(self._count, plan), shards, 2 * READERS):
            total.add(counts)
        return total

    def _count(self, plan: Plan, shard: int) -> Counts:
        from pyarrow.parquet import ParquetFile

        try:
            with self._storage.open(_file(shard)) as opened, ParquetFile(opened) as parquet:
                rows = parquet.read(["face", "error"])
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            raise ConfigError(
                f"{self._storage.name_of(_file(shard))}: cannot be read: {reason(error)}; remove "
                "it and repeat the command with --resume"
            ) from error
        errors = rows["error"].drop_null().to_pylist()
        without_face = errors.count(NO_FACE)
        faces = len(rows) - rows["face"].null_count
        return Counts(plan.photos[shard], faces, without_face, len(errors) - without_face)

    def parts(self, run: str, shard: int) -> list[Part]:
        """Return the parts of a shard of a run. Raises ConfigError if the list cannot be read."""
        from pyarrow.parquet import ParquetFile

        file = _list_file(run)
        try:
            # The description of a long list has many megabytes, so it is read only once.
            known = self._descriptions.get(run)
            with self._storage.open(file) as opened, ParquetFile(opened, metadata=known) as parquet:
                self._descriptions[run] = parquet.metadata
                return from_table(parquet.read_row_group(shard))
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            raise ConfigError(
                f"{self._storage.name_of(file)}: cannot be read: {reason(error)}; check the "
                "network and the permissions, then repeat the command with --resume"
            ) from error

    def write(self, shard: int, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
        """Write the rows of a shard. Raises ConfigError if they cannot be written."""
        from pyarrow.parquet import write_table

        try:
            with self._storage.writing(_file(shard)) as path:
                write_table(_to_table(columns, rows), path)
        except OSError as error:
            raise self._unwritable(_file(shard), error, " with --resume") from error

    def _unwritable(self, file: str, error: Exception, resume: str) -> ConfigError:
        return ConfigError(
            f"{self._storage.name_of(file)}: cannot be written: {reason(error)}; check the name, "
            f"the room and the permissions, then repeat the command{resume}"
        )


def _list_file(run: str) -> str:
    return f"{LIST_FOLDER}/{run}.parquet"


def _file(shard: int) -> str:
    return f"{shard:06d}.parquet"


def _to_table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> Any:
    """Return rows as a pyarrow table. Bytes of names that are not UTF-8 are written as \\xe9."""
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, types[column_type(name)]) for name in columns])
    texts = [name for name in columns if column_type(name) is str]
    plain = [{**row, **{name: _utf_8(row.get(name)) for name in texts}} for row in rows]
    return pa.Table.from_pylist(plain, schema)


def _utf_8(text: str | None) -> str | None:
    if text is None:
        return None
    return text.encode("utf-8", NAME_ERRORS).decode("utf-8", "backslashreplace")


def _nothing(source: Source, left_out: Counter[Reason]) -> str:
    what = "photos" if source.column is None else "rows in Parquet files"
    found = "; ".join(f"{why.text}: {count}" for why, count in left_out.items())
    return f"{source.name}: expected {what}, found none" + (f"; left out: {found}" if found else "")
