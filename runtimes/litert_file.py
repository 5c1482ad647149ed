"""`.tflite` files: how their metadata and their free batch size are stored, and read back.

A `.tflite` file is a FlatBuffer with the identifier TFL3. A LiteRT runtime that knows nothing of
halnet runs it as any other, because a named metadata buffer is part of the format
[tensorflow/lite/schema/schema.fbs, table Metadata].
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import Metadata
from halnet.errors import ArtifactError
from halnet.json_text import parse_json
from halnet.packages import import_library
from halnet.runtimes.base import BatchLimits, library_errors

LIBRARY = "ai_edge_litert"
BUFFER = "halnet"  # name of the buffer with the metadata, a JSON object of text properties
IDENTIFIER = b"TFL3"  # of the files; in the bytes 4 to 7
FREE = -1  # in the signature of a shape: any size


@dataclass(frozen=True)
class LiteRTFile:
    """A `.tflite` file that was read."""

    data: bytes
    metadata: Metadata
    batch_limits: BatchLimits


def read_litert(path: str | Path) -> LiteRTFile:
    """Read an artifact without running it.

    Raises ArtifactError if it cannot be read, is no LiteRT model, or is none of HAL-Net.
    """
    schema = import_schema()
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    if data[4:8] != IDENTIFIER:
        raise ArtifactError(
            f"{path}: expected a LiteRT model, found a file without the identifier "
            f"{IDENTIFIER.decode()}; make a model with halnet export --format litert"
        )
    with library_errors(path, "LiteRT cannot read it"):
        model = schema.Model.GetRootAs(data, 0)
        properties = _read_properties(model)
        limits = _read_limits(model)
    return LiteRTFile(data, Metadata.from_properties(properties, path), limits)


def add_properties(data: bytes, properties: dict[str, str]) -> bytes:
    """Return a `.tflite` model with the text properties in it."""
    schema = import_schema()
    model = _unpack(data)
    buffer = schema.BufferT()
    buffer.data = list(json.dumps(properties, sort_keys=True).encode())
    entry = schema.MetadataT()
    entry.name, entry.buffer = BUFFER, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    return _pack(model)


def free_batch(data: bytes) -> bytes:
    """Return a `.tflite` model whose signature states that it takes any number of crops."""
    model = _unpack(data)
    graph = model.subgraphs[0]
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        tensor.shapeSignature = [FREE, *(int(size) for size in tensor.shape[1:])]
    return _pack(model)


def _unpack(data: bytes) -> Any:
    """Return a model as objects, with all of its buffers.

    The quantizer writes large buffers behind the FlatBuffer. Packing the model would lose them.
    """
    model = import_schema().ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.data is None and buffer.size:
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _pack(model: Any) -> bytes:
    """Return the bytes of a model."""
    flatbuffers = import_library("flatbuffers", "halnet export --format litert", "litert-export")
    builder = flatbuffers.Builder(2**20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def import_schema() -> Any:
    """Import the module that reads `.tflite` files; RuntimeUnavailableError if it is missing."""
    return import_part("schema_py_generated")


def import_part(name: str) -> Any:
    """Import a module of the library; RuntimeUnavailableError if the library is missing."""
    import_library(LIBRARY, "runtime litert", "litert")
    return import_library(f"{LIBRARY}.{name}", "runtime litert", "litert")


def _read_properties(model: Any) -> dict[str, str]:
    """Return the halnet.* properties; none if the model has no such buffer."""
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == BUFFER.encode():
            content = model.Buffers(entry.Buffer()).DataAsNumpy()
            values = parse_json(bytes(content).decode())
            return {str(key): str(value) for key, value in values.items()}
    return {}


def _read_limits(model: Any) -> BatchLimits:
    """Return how many crops the model takes: any number, or the first size of its input."""
    graph = model.Subgraphs(0)
    image = graph.Tensors(graph.Inputs(0))
    if image.ShapeSignatureLength() and image.ShapeSignature(0) == FREE:
        return BatchLimits()
    return BatchLimits(image.Shape(0), image.Shape(0))
