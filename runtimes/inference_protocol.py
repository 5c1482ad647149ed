"""The Open Inference Protocol, version 2: how tensors travel between a client and a server by HTTP.

The JSON header of a request or response lists tensors. The numbers of a tensor stand in the header,
or follow it as bytes, little-endian and in C order (the extension "binary tensor data"). An HTTP
header field then states the length of the JSON header. `halnet serve`, NVIDIA Triton and OpenVINO
Model Server speak it [https://github.com/kserve/open-inference-protocol].
"""

import json
import math
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halnet.ages import N_AGES
from halnet.artifact import INPUT, INPUT_NAME, OUTPUT_NAMES
from halnet.json_text import parse_json

HEADER_LENGTH = "Inference-Header-Content-Length"
EXTENSION = "binary_tensor_data"  # name of the extension
BINARY_SIZE = "binary_data_size"  # parameter of a tensor whose numbers are bytes
DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
ANY = -1  # in a shape: any size
MAX_RANK, MAX_SIZE = 4, 1_000_000  # of a shape: its length, and each number; larger ones overflow
# Most brackets of a JSON header: so many, and one more for so many bytes of it. Lists and objects
# without numbers would need a hundred times the memory of their text.
BRACKETS, BYTES_A_BRACKET = 10_000, 6
INPUTS = ({"name": INPUT_NAME, "datatype": "UINT8", "shape": [ANY, INPUT.size, INPUT.size, 3]},)
OUTPUTS = tuple(
    {"name": name, "datatype": "FP32", "shape": shape}
    for name, shape in zip(OUTPUT_NAMES, ([ANY], [ANY], [ANY, N_AGES]), strict=True)
)

Arrays = dict[str, NDArray[Any]]


class ProtocolError(ValueError):
    """A message does not follow the protocol."""


def pack(
    header: Mapping[str, Any],
    kind: str,
    arrays: Mapping[str, NDArray[Any]],
    binary: Collection[str],
) -> tuple[bytes, int | None]:
    """Return the body of a message, and the length of its JSON header.

    `kind` is "inputs" or "outputs". The tensors named in `binary` become bytes. If there are none,
    the whole body is JSON, and the length is None.
    """
    names = {dtype: name for name, dtype in DTYPES.items()}
    entries, parts = [], []
    for name, array in arrays.items():
        entry: dict[str, Any] = {
            "name": name,
            "datatype": names[array.dtype],
            "shape": list(array.shape),
        }
        if name in binary:
            parts.append(np.ascontiguousarray(array).tobytes())
            entry["parameters"] = {BINARY_SIZE: len(parts[-1])}
        else:
            entry["data"] = array.ravel().tolist()
        entries.append(entry)
    text = json.dumps({**header, kind: entries}).encode()
    return b"".join([text, *parts]), len(text) if parts else None


def unpack(
    body: bytes, length: str | None, kind: str, binary_only: bool = False
) -> tuple[dict[str, Any], Arrays]:
    """Return the JSON header of a message and its tensors by their names.

    `length` is the value of the HTTP header field HEADER_LENGTH, if there is one. With
    `binary_only`, all numbers have to be bytes. Raises ProtocolError for a message that is damaged
    or does not follow the protocol.
    """
    end = len(body) if length is None else _read_length(length, len(body))
    if body.count(b"[", 0, end) + body.count(b"{", 0, end) > BRACKETS + end // BYTES_A_BRACKET:
        raise ProtocolError("expected numbers in the JSON header, found mostly brackets")
    try:
        header = parse_json(body[:end])
    except ValueError as error:
        raise ProtocolError(f"the JSON header is damaged: {error}") from error
    entries = header.get(kind) if isinstance(header, dict) else None
    if not isinstance(entries, list):
        raise ProtocolError(f'expected a JSON object with a list "{kind}", found none')
    arrays: Arrays = {}
    for entry in entries:
        name, dtype, shape, parameters = _read_entry(entry, kind)
        size = parameters.get(BINARY_SIZE)
        if name in arrays:
            raise ProtocolError(f"{name}: expected one tensor of this name, found several")
        if size is None:
            if binary_only:
                raise ProtocolError(
                    f"{name}: expected its numbers as bytes, found no {BINARY_SIZE}"
                )
            arrays[name] = _from_json(name, entry.get("data"), dtype, shape)
            continue
        needed = math.prod(shape) * dtype.itemsize
        if size != needed or needed > len(body) - end:
            raise ProtocolError(
                f"{name}: expected {needed} bytes for the shape {shape}, found "
                f"{BINARY_SIZE} {size} and {len(body) - end} bytes"
            )
        arrays[name] = np.frombuffer(body, dtype, math.prod(shape), end).reshape(shape)
        end += needed
    if end != len(body):
        raise ProtocolError(f"expected the end of the message, found {len(body) - end} more bytes")
    return header, arrays


def _read_length(text: str, size: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= size):
        raise ProtocolError(
            f"{HEADER_LENGTH}: expected at most the {size} bytes of the message, found {text[:20]}"
        )
    return int(text)


def _read_entry(
    entry: Any, kind: str
) -> tuple[str, np.dtype[Any], tuple[int, ...], dict[str, Any]]:
    """Return the name, the type, the shape and the parameters of a tensor."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise ProtocolError(f'"{kind}": expected tensors with a name, found none in an entry')
    name, datatype, shape = entry["name"], entry.get("datatype"), entry.get("shape")
    parameters: Any = entry.get("parameters", {})
    if not isinstance(datatype, str) or datatype not in DTYPES:
        raise ProtocolError(f"{name}: expected the type {' or '.join(DTYPES)}, found {datatype}")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_RANK
        or not all(type(size) is int and 0 <= size <= MAX_SIZE for size in shape)
    ):
        raise ProtocolError(
            f"{name}: expected a shape of at most {MAX_RANK} whole numbers up to {MAX_SIZE:,}, "
            f"found {str(shape)[:100]}"
        )
    if not isinstance(parameters, dict):
        raise ProtocolError(f"{name}: expected parameters in a JSON object, found {parameters}")
    return name, DTYPES[datatype], tuple(shape), parameters


def _from_json(name: str, data: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the numbers of a tensor that stand in the JSON header, nested or in one list."""
    if not isinstance(data, list):
        raise ProtocolError(f"{name}: expected data as a list, or {BINARY_SIZE}, found neither")
    if not _are_numbers(data):
        raise ProtocolError(f"{name}: expected numbers, found others")
    try:
        found = np.asarray(data)
    except ValueError as error:
        raise ProtocolError(f"{name}: expected data of the shape {shape}, found others") from error
    if found.size != math.prod(shape):
        raise ProtocolError(
            f"{name}: expected {math.prod(shape)} numbers for the shape {shape}, found {found.size}"
        )
    if found.ndim > 1 and found.shape != shape:
        raise ProtocolError(
            f"{name}: expected numbers in one list or nested in the shape {shape}, found them in "
            f"{found.shape}"
        )
    kinds, limits = ("iu", "0 to 255") if dtype.kind == "u" else ("iuf", "floating point")
    if found.size and (
        found.dtype.kind not in kinds
        or (dtype.kind == "u" and (found.min() < 0 or found.max() > 255))
    ):
        raise ProtocolError(f"{name}: expected numbers of the range {limits}, found others")
    return found.astype(dtype).reshape(shape)


def _are_numbers(data: list[Any]) -> bool:
    """Return whether the values of a list that may be nested are numbers.

    NumPy would give each text among them the memory of the longest one.
    """
    kinds = set(map(type, data))
    if kinds == {list}:
        return _are_numbers(list(chain.from_iterable(data)))
    return kinds <= {int, float}
