"""Protobuf's text format: writes and reads the part of it that a `config.pbtxt` of Triton needs.

Protobuf itself needs the schema of the vendor to read such a file. This reads any file of this
part, and the caller compares what is in it. A message is a dictionary. A field is a text, a number,
a truth value, a `Name`, a list of numbers, or a list of messages, also where there is only one.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]
_SPACE = re.compile(r"(?:\s|#.*)*")  # with comments
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|-?[0-9]+|\w+|[{}\[\]:,]')


class Name(str):
    """A value without quotes, such as TYPE_UINT8."""

    __slots__ = ()


def to_text(message: Message, indent: str = "") -> str:
    """Return a message as text, with a line for each field that is no message."""
    lines = []
    for field, value in message.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for part in value:
                inner = to_text(part, indent + "  ")
                lines.append(f"{indent}{field} {{\n{inner}{indent}}}\n")
        else:
            lines.append(f"{indent}{field}: {_value_text(value)}\n")
    return "".join(lines)


def parse_text(text: str) -> Message:
    """Return the message that a text contains; ValueError if it is damaged."""
    return _parse_message(_tokens(text), end="")


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Name):
        return value
    if isinstance(value, list):
        return f"[ {', '.join(map(str, value))} ]" if value else "[ ]"
    return json.dumps(value, ensure_ascii=False)  # its escapes are those of the format too


def _tokens(text: str) -> Iterator[str]:
    """Yield the tokens of a text, then empty texts."""
    end = _after_space(text, 0)
    while end < len(text):
        found = _TOKEN.match(text, end)
        if found is None:
            raise ValueError(f"unexpected text: {text[end : end + 20]!r}")
        yield found[0]
        end = _after_space(text, found.end())
    while True:
        yield ""


def _after_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    assert found is not None, "it matches nothing too"
    return found.end()


def _parse_message(tokens: Iterator[str], end: str) -> Message:
    message: Message = {}
    while (field := next(tokens)) != end:
        if not field.isidentifier():
            raise ValueError(f"expected a field, found {field!r}")
        mark = next(tokens)
        if mark == "{":
            parts = message.setdefault(field, [])
            if not isinstance(parts, list):
                raise ValueError(f"{field} has values of two kinds")
            parts.append(_parse_message(tokens, "}"))
        elif mark == ":" and field not in message:
            message[field] = _parse_value(tokens)
        else:
            raise ValueError(f"{field}: expected one value, found {mark!r}")
    return message


def _parse_value(tokens: Iterator[str]) -> Any:
    token = next(tokens)
    if token == "[":
        values = []
        while (token := next(tokens)) != "]":
            if token != ",":
                values.append(int(token))
        return values
    if token.startswith('"'):
        return json.loads(token)
    if token in ("true", "false"):
        return token == "true"
    if token.isidentifier():
        return Name(token)
    return int(token)
