import json
from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from halnet.reporting.json_values import from_values, to_values
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    count: int
    share: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    colour: Colour
    inner: Inner
    pair: tuple[int, str]
    many: tuple[Inner, ...] = ()
    cells: tuple[str | int | float | None, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    is_new: bool = False


FULL = Outer(
    "a",
    Colour.RED,
    Inner(1, 0.5),
    (1, "x"),
    (Inner(2), Inner(3, 1.0)),
    ("1", 1, 1.5, None),
    {"python": "3.11"},
    True,
)
LEAST = {"name": "a", "colour": "red", "inner": {"count": 1}, "pair": [1, "x"]}


def test_values_are_the_same_after_writing_and_reading_them() -> None:
    found = from_values(Outer, json.loads(json.dumps(to_values(FULL))))
    assert found == FULL
    assert [type(cell) for cell in found.cells] == [str, int, float, type(None)]


def test_a_section_is_the_same_after_writing_and_reading_it() -> None:
    figure = Figure("f", FigureKind.LINES, "ms", (Series("s", (1.0, 2.0), (1.0, 4.0)),), "threads")
    table = Table(("a", "b"), (("x", 0.123456789), (None, 3)))
    section = Section("title", ("text",), (table,), (figure,), ("careful",))
    assert from_values(Section, json.loads(json.dumps(to_values(section)))) == section


def test_infinite_numbers_are_no_values() -> None:
    assert to_values(Inner(1, float("nan"))) == {"count": 1, "share": None}
    assert to_values(Inner(1, float("inf"))) == {"count": 1, "share": None}


def test_missing_names_have_their_defaults_and_unknown_ones_are_left_out() -> None:
    found = from_values(Outer, {**LEAST, "from_a_newer_version": 1})
    assert found == Outer("a", Colour.RED, Inner(1), (1, "x"))
    whole = from_values(Inner, {"count": 1, "share": 2})
    assert isinstance(whole.share, int | float)
    assert whole.share == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "^name is no str$"),
        ({"is_new": 1}, "^is_new is no bool$"),
        ({"inner": 1}, "^inner is no object$"),
        ({"inner": {}}, "^inner.count is missing$"),
        ({"inner": {"count": True}}, "^inner.count is no int$"),
        ({"many": [{"count": 1}, {"count": "1"}]}, "^many.1.count is no int$"),
        ({"many": {}}, "^many is no list"),
        ({"pair": [1]}, "^pair is no list of the right length$"),
        ({"pair": ["x", 1]}, "^pair.0 is no int$"),
        ({"cells": [[]]}, "^cells.0 is no str$"),
        ({"colour": "blue"}, "^colour is 'blue', which is not known$"),
        ({"versions": {"python": 3}}, "^versions.python is no str$"),
        ({"versions": []}, "^versions is no object$"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_values(Outer, {**LEAST, **change})


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_what_is_no_object_is_an_error(values: object) -> None:
    with pytest.raises(ValueError, match="^it is no object$"):
        from_values(Inner, values)
