"""Options: what a client may choose in the query of an address. The OpenAPI document lists them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from halnet.ages import AGE_MAX, AGE_MIN, LEGAL_AGE, LEVEL
from halnet.checks.policy import MARGIN
from halnet.serving.refusal import Refusal


def _whole(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 10):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and text.isascii() and "_" not in text):
        raise ValueError
    return value


def _faces(text: str) -> str:
    if text not in FACES:
        raise ValueError
    return text


FACES = ("all", "largest")


@dataclass(frozen=True)
class Option:
    """An option in the query of an address."""

    name: str
    read: Callable[[str], Any]  # raises ValueError for a wrong text
    schema: dict[str, Any]  # JSON schema of its values
    help: str
    repeated: bool = False  # True: it may be given several times, and its value is a tuple

    def to_openapi(self) -> dict[str, Any]:
        """Return the parameter of an OpenAPI document."""
        schema = {"type": "array", "items": self.schema} if self.repeated else self.schema
        return {"name": self.name, "in": "query", "description": self.help, "schema": schema}


_AGE = {"type": "integer", "minimum": AGE_MIN, "maximum": AGE_MAX}
PREDICT_OPTIONS = (
    Option(
        "faces",
        _faces,
        {"type": "string", "enum": list(FACES), "default": "all"},
        "Which faces of each photo are predicted.",
    ),
    Option(
        "level",
        _number,
        {"type": "number", "default": LEVEL},
        "Interval coverage, for example 0.9.",
    ),
    Option(
        "at_least",
        _whole,
        _AGE,
        "Age in years, such as 18: also give the calibrated probability that a person is as old as "
        "that or older. Name several ages by repeating the option.",
        repeated=True,
    ),
)
CHECK_OPTIONS = (
    Option(
        "legal",
        _whole,
        {**_AGE, "minimum": 1, "default": LEGAL_AGE},
        "Legal age in years: the check asks whether the person is as old as that.",
    ),
    Option(
        "challenge",
        _whole,
        _AGE,
        "Challenge age in years: who looks as old as that or older passes. Default: "
        f"{MARGIN} years above the legal age.",
    ),
    Option(
        "max_risk",
        _number,
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "Choose the smallest challenge age at which the risk that a minor passes is at most this "
        "share, such as 0.05, as measured with the calibration photos of the model.",
    ),
)


def read_options(query: QueryParams, options: Sequence[Option]) -> dict[str, Any]:
    """Return the values of the options in a query, by their names, without those left out.

    Raises Refusal for other names and for wrong values.
    """
    known = {option.name: option for option in options}
    values: dict[str, Any] = {}
    for name in query:
        option = known.get(name)
        if option is None:
            raise Refusal(400, f"option {name}: expected one of {', '.join(known) or 'none'}")
        texts = query.getlist(name)
        try:
            found = tuple(option.read(text) for text in texts)
            values[name] = found if option.repeated else _only(found)
        except ValueError as error:
            once = "" if option.repeated or len(texts) == 1 else ", once"
            raise Refusal(
                400,
                f"option {name}: expected {_words(option.schema)}{once}, found "
                f"{', '.join(texts)[:100]}",
            ) from error
    return values


def _words(schema: dict[str, Any]) -> str:
    """Return what the values of a schema are, such as "an integer from 0 to 100"."""
    if "enum" in schema:
        return " or ".join(schema["enum"])
    kind = {"integer": "an integer", "number": "a number"}[schema["type"]]
    if "minimum" in schema:
        return f"{kind} from {schema['minimum']} to {schema['maximum']}"
    if "exclusiveMinimum" in schema:
        return f"{kind} above {schema['exclusiveMinimum']} and below {schema['exclusiveMaximum']}"
    return kind


def _only(values: tuple[Any, ...]) -> Any:
    if len(values) != 1:
        raise ValueError
    return values[0]
