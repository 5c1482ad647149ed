"""The worker: it predicts the photos of a shard and writes their faces into one result file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

from halnet.batch.config import BatchConfig
from halnet.batch.counts import Counts
from halnet.batch.parts import Part, Source, open_source
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
    """Predicts shards. `model` is the name of the model that all workers must have."""

    def __init__(self, config: BatchConfig, model: str) -> None:
        self._config = config
        self._model = model

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
        for name, data in read_photos(self._source, self._out.parts(shard)):
            if isinstance(data, ImageError):
                result = PhotoResult(name, [], str(data))
            else:
                result = predict_bytes(self._predictor, data, name, prediction.selection)
            counts.count(result)
            selection = prediction.selection
            rows += to_rows(result, selection.level, self._model, selection.at_least)
        columns = name_columns(prediction.selection.at_least, prediction.quality)
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
        except OSError as error:
            raise ImageError(f"{name}: cannot be read: {reason(error)}") from error
        check_bytes(len(data), name)
    except ImageError as error:
        return name, error
    return name, data


def _read_rows(source: Source, part: Part) -> Iterator[Named]:
    """Yield the photos in a row group of a Parquet file. Raises ConfigError if it is damaged."""
    from pyarrow.parquet import ParquetFile

    file = source.storage.name_of(part.file)
    columns = [name for name in (source.column, source.id_column) if name]
    row = part.first
    try:
        with ExitStack() as stack:
            opened = stack.enter_context(source.storage.open(part.file))
            parquet = stack.enter_context(ParquetFile(opened, buffer_size=1 << 20))
            for batch in parquet.iter_batches(ROWS, row_groups=[part.group], columns=columns):
                names = batch.column(source.id_column) if source.id_column else [None] * len(batch)
                for name, data in zip(names, _values(batch, source.column or ""), strict=True):
                    plain = name if name is None else name.as_py()
                    yield _row(f"{file}#{row}" if plain is None else str(plain), data)
                    row += 1
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file}: cannot be read from row {row} on: {reason(error)}; if the file is damaged, "
            "remove it and begin a new run into another folder"
        ) from error


def _values(batch: Any, column: str) -> Any:
    """Return the values of a column such as "image" or "image.bytes"."""
    name, *fields = column.split(".")
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
