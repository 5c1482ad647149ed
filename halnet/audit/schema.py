"""The JSON Schema of a report, made from the dataclasses that the report consists of.

The file `report.schema.json` in this folder is the result for `AuditReport`. A test compares them.
"""

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def about(
    text: str, low: float | None = None, high: float | None = None, values: tuple[Any, ...] = ()
) -> dict[str, Any]:
    """Return the metadata of a field: what it means, its bounds, and all values that it can have.

    The bounds are those of a number, or of each number in a list.
    """
    limits = {"minimum": low, "maximum": high, "enum": list(values) or None}
    known = {key: value for key, value in limits.items() if value is not None}
    return {"text": text, "limits": known}


def build_schema(kind: type, title: str) -> dict[str, Any]:
    """Return the JSON Schema of what `to_values` gives for a dataclass.

    Each field has a description if it has the metadata of `about`. Fields without a default are
    required, and no other names are allowed. Raises TypeError for a type that JSON does not have.
    """
    parts: dict[str, Any] = {}
    _add(kind, parts)
    return {
        "$schema": DIALECT,
        "title": title,
        "$ref": f"#/$defs/{kind.__name__}",
        "$defs": dict(sorted(parts.items())),
    }


def _add(kind: Any, parts: dict[str, Any]) -> None:
    """Add the schema of a dataclass, and of those that it refers to, to `parts`."""
    if kind.__name__ in parts:
        return
    hints = get_type_hints(kind)
    own: dict[str, Any] = {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split("\n\n")[0].split()),
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    parts[kind.__name__] = own  # before its fields, which may refer to it
    for entry in fields(kind):
        limits = entry.metadata.get("limits", {})
        found = _type(hints[entry.name], limits, parts)
        text = entry.metadata.get("text")
        own["properties"][entry.name] = {**({"description": text} if text else {}), **found}
        if entry.default is MISSING and entry.default_factory is MISSING:
            own["required"].append(entry.name)


def _type(hint: Any, limits: Mapping[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type; the dataclasses in it are added to `parts`."""
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_type(part, limits, parts) for part in arguments]}
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return {"type": "array", "items": _type(arguments[0], limits, parts)}
        return {
            "type": "array",
            "prefixItems": [_type(part, limits, parts) for part in arguments],
            "minItems": len(arguments),
            "maxItems": len(arguments),
        }
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(arguments[1], limits, parts)}
    if is_dataclass(hint):
        _add(hint, parts)
        return {"$ref": f"#/$defs/{hint.__name__}"}  # type: ignore[union-attr]
    if hint not in _PLAIN:
        raise TypeError(f"expected a type that JSON has, found {hint}")
    return {"type": _PLAIN[hint], **({} if hint is type(None) else limits)}
