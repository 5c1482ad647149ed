"""The worker: it predicts the photos of a shard and writes their faces into one result file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from halnet.batch.config import BatchConfig
from halnet.batch.counts import Counts
from halnet.batch.parts import Part, Source, open_source, split_column
from halnet.batch.result_folder import ResultFolder
from halnet.batch.storage import open_storage, reason
from halnet.batches import PhotoResult, predict_bytes
from halnet.errors import ConfigError, HalnetError, ImageError
from halnet.parallel import map_in_order
from halnet.photos.images import check_bytes
from halnet.prediction_run import open_predictor
from halnet.predictor import Predictor
from halnet.result_files import model_name, name_columns, to_rows

READERS = 4  # photos that a worker reads at the same time, while it predicts another one
AHEAD = 8  # photos that are read and wait in memory
ROWS = 16  # rows of a Parquet file that are in memory
# So many photos one after the other that their storage does not give: then it is the storage that
# fails, and not the photos. Photos that do not exist any more do not count.
REFUSED = 20

Named = tuple[str, bytes | ImageError]  # the name of a photo, and its bytes or why there are none


class BatchWorker:
    """Predicts shards.

    `model` is the name of the model that all workers must have, and `run` that of the run.
    """

    def __init__(self, config: BatchConfig, model: str, run: str) -> None:
        self._config, self._model, self._run = config, model, run

    def __call__(self, shards: dict[str, Any]) -> dict[str, list[Any]]:
        """Predict one shard; return its number and its counts, or the error that ends the run.

        The error is returned and not raised, so that Ray does not wrap it.
        """
        shard = int(shards["shard"][0])
        counts, error = Counts(), ""
        try:
            counts = self.predict(shard)
        except (HalnetError, OSError) as failure:
            error = str(failure)
        return {"shard": [shard], "error": [error], **{k: [v] for k, v in asdict(counts).items()}}

    def predict(self, shard: int) -> Counts:
        """Predict a shard and write its faces. Raises HalnetError if this is not possible."""
        prediction = self._config.prediction
        counts, rows = Counts(), []
        for name, data in read_photos(self._source, self._out.parts(self._run, shard)):
            if isinstance(data, ImageError):
                result = PhotoResult(name, [], str(data))
            else:
                result = predict_bytes(self._predictor, data, name, prediction.selection)
            counts.count(result)
            selection = prediction.selection
            rows += to_rows(result, selection.level, self._model, selection.at_least)
        columns = name_columns(prediction.selection.at_least, prediction.quality)
        self._out.check_run(self._run)
        self._out.write(shard, columns, rows)
        return counts

    @cached_property
    def _source(self) -> Source:
        config = self._config
        return open_source(config.source, config.column, config.id_column)

    @cached_property
    def _out(self) -> ResultFolder:
        return ResultFolder(open_storage(self._config.out))

    @cached_property
    def _predictor(self) -> Predictor:
        predictor = open_predictor(self._config.prediction, 1)
        found = model_name(predictor.spec)
        if found != self._model:
            raise ConfigError(
                f"model: expected {self._model} on each machine, found {found} in "
                f"{predictor.spec.model}; copy the same file and halnet to each machine"
            )
        return predictor


def read_photos(source: Source, parts: list[Part]) -> Iterator[Named]:
    """Yield the name of each photo of some parts, with its bytes or why it cannot be read.

    Raises ConfigError if the storage fails; see REFUSED.
    """
    if source.column is not None:
        for part in parts:
            yield from _read_rows(source, part)
        return
    refused = 0
    pool = ThreadPoolExecutor(READERS)
    for name, data in map_in_order(pool, partial(_read_photo, source), parts, AHEAD):
        is_refused = isinstance(data, ImageError) and isinstance(data.__cause__, OSError)
        gone = isinstance(data, ImageError) and isinstance(data.__cause__, FileNotFoundError)
        refused = refused + 1 if is_refused and not gone else 0
        if refused == REFUSED:
            raise ConfigError(
                f"{source.name}: {REFUSED} photos after each other cannot be read, the last one is "
                f"{data!s}; check the network and the permissions, then repeat the command with "
                "--resume"
            )
        yield name, data


def _read_photo(source: Source, part: Part) -> Named:
    name = source.storage.name_of(part.file)
    try:
        try:
            data = source.storage.read(part.file)
        except (OSError, ValueError) as error:  # ValueError: a name that pyarrow does not take
            raise ImageError(f"{name}: cannot be read: {reason(error)}") from error
        check_bytes(len(data), name)
    except ImageError as error:
        return name, error
    return name, data


def _read_rows(source: Source, part: Part) -> Iterator[Named]:
    """Yield the photos in a row group of a Parquet file. Rows that are damaged have an error.

    Raises ConfigError if the storage does not give the file.
    """
    from pyarrow import ArrowException

    file = source.storage.name_of(part.file)
    row = part.first
    why = "there are fewer rows than the file states"
    try:
        with source.storage.open(part.file) as opened:
            try:
                for name, data in _rows(source, part, opened):
                    yield _row(_name_row(name, file, row), data)
                    row += 1
            except (OSError, ValueError, ArrowException) as error:
                opened.seek(0)
                opened.read(1)  # fails if it is the storage that fails
                why = reason(error)
            if row < part.first + part.photos:
                for name in _names(source, part, opened)[row - part.first :]:
                    plain = _name_row(name, file, row)
                    yield plain, ImageError(f"{plain}: row {row} of {file} cannot be read: {why}")
                    row += 1
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read from row {row} on: {reason(error)}; check the network and the "
            "permissions, then repeat the command with --resume"
        ) from error


def _rows(source: Source, part: Part, opened: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the name and the value of each row in a row group. Raises several errors for damage."""
    from pyarrow.parquet import ParquetFile

    column = source.id_column
    columns = [name for name in (source.column, column) if name]
    parquet = ParquetFile(opened, buffer_size=1 << 20)
    for batch in parquet.iter_batches(ROWS, row_groups=[part.group], columns=columns):
        ids = batch.column(column).to_pylist() if column else [None] * len(batch)
        yield from zip(ids, _values(batch, source.column or ""), strict=True)


def _name_row(name: Any, file: str, row: int) -> str:
    """Return the name of the photo in a row, from the value of its name if there is one."""
    if name is None:
        return f"{file}#{row}"
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)


def _names(source: Source, part: Part, opened: Any) -> list[Any]:
    """Return the names of all rows in a row group; None where they are not known or damaged."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    if source.id_column:
        with suppress(OSError, ValueError, ArrowException):
            rows = ParquetFile(opened).read_row_group(part.group, [source.id_column])
            if len(rows) == part.photos:
                return list(rows.column(source.id_column).to_pylist())
    return [None] * part.photos


def _values(batch: Any, column: str) -> Any:
    """Return the values of a column such as "image" or "image.bytes"."""
    name, *fields = split_column(batch.schema.names, column)
    values = batch.column(name)
    for field in fields:
        values = values.field(field)
    return values


def _row(name: str, data: Any) -> Named:
    if not data.is_valid:
        return name, ImageError(f"{name}: there are no bytes in this row")
    buffer = data.as_buffer()
    try:
        check_bytes(buffer.size, name)
    except ImageError as error:
        return name, error
    return name, buffer.to_pybytes()
