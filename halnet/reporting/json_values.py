"""JSON values of frozen dataclasses: written and read by the names of their fields."""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_values(instance: Any) -> dict[str, Any]:
    """Return the JSON-ready values of a dataclass, without infinite numbers and NaN."""
    values: dict[str, Any] = _plain(asdict(instance))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def from_values(kind: type[T], values: Any, where: str = "") -> T:
    """Return an instance of a dataclass from its JSON values.

    Fields may be numbers, strings, booleans, enumerations, tuples of one type, dictionaries with
    keys that are strings, dataclasses, and unions with None. Names that the class does not have are
    left out, and a missing name gets the default of its field. Raises ValueError, which names the
    field, for a value of another type and for a missing value without a default.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where or 'it'} is no object")
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        name = f"{where}.{field.name}".lstrip(".")
        if field.name in values:
            found[field.name] = _read(hints[field.name], values[field.name], name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{name} is missing")
    return kind(**found)


def _read(hint: Any, value: Any, name: str) -> Any:
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, name)
    if origin is tuple:
        kinds = arguments[:1] if arguments[-1] is Ellipsis else arguments
        if not isinstance(value, list) or (len(kinds) > 1 and len(kinds) != len(value)):
            raise ValueError(f"{name} is no list of the right length")
        kinds = kinds * len(value) if len(kinds) == 1 else kinds
        return tuple(
            _read(part, entry, f"{name}.{index}")
            for index, (part, entry) in enumerate(zip(kinds, value, strict=False))
        )
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise ValueError(f"{name} is no object")
        return {key: _read(arguments[1], entry, f"{name}.{key}") for key, entry in value.items()}
    if is_dataclass(hint):
        return from_values(hint, value, name)  # type: ignore[arg-type]
    return _read_plain(hint, value, name)


def _read_union(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:  # a number of the exact type first, so that 1 stays an integer
        if kind is type(value):
            return value
    for kind in kinds:
        if kind is not type(None):
            return _read(kind, value, name)
    raise ValueError(f"{name} is not of the right type")


def _read_plain(kind: Any, value: Any, name: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError as error:
            raise ValueError(f"{name} is {value!r}, which is not known") from error
    if type(value) is not kind:
        raise ValueError(f"{name} is no {kind.__name__}")
    return value
