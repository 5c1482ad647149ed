"""JSON from files that may be damaged, or made to do harm."""

import json
import math
from typing import Any

MAX_DEPTH = 100  # of lists and objects in each other; the files of halnet have less than ten
_SURROGATES = "surrogateescape"  # in file names that are not UTF-8; see `halnet.files.NAME_ERRORS`


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises ValueError if it is damaged, and for what would break a program that uses the value:
    deep nesting, infinite numbers, integers of more than 64 bits, and strings that are no text.
    """
    try:
        value = json.loads(
            text, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_parse_float
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    _check(value, MAX_DEPTH)
    return value


def _parse_int(digits: str) -> int:
    value = int(digits)
    if not -(2**63) <= value < 2**64:
        raise ValueError("a number in it is too large")
    return value


def _parse_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number in it is too large")
    return value


def _check(value: Any, depth: int) -> None:
    """Raise ValueError for nesting of more than `depth` levels and for strings that are no text."""
    if isinstance(value, str):
        value.encode(errors=_SURROGATES)
    elif isinstance(value, dict | list):
        if not depth:
            raise ValueError("it is nested too deeply")
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        for part in parts:
            _check(part, depth - 1)
