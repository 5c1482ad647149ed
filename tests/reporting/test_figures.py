"""Figures as SVG. What they show is read from their text and the places of their marks."""

import re
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from halnet.errors import RuntimeUnavailableError

pytest.importorskip("matplotlib")

from halnet.reporting.figures import REPLACED, draw_svg
from halnet.reporting.sections import Figure, FigureKind, Series

SVG = "{http://www.w3.org/2000/svg}"
CATEGORIES = ("deploy/halnet.onnx on onnxruntime", "a <b> & c")
FIGURES = {
    "points": Figure(
        "Error against time",
        FigureKind.POINTS,
        "MAE, years",
        (Series("first", (4.5,), (3.0,)), Series("second", (4.51,), (6.0,))),
        "ms",
    ),
    "lines": Figure(
        "Scaling",
        FigureKind.LINES,
        "crops per second",
        (Series("one", (10.0, 19.0), (1.0, 2.0)), Series("two", (12.0, 24.0), (1.0, 2.0))),
        "threads",
    ),
    "bars": Figure(
        "Times", FigureKind.BARS, "ms", (Series("median", (3.14, 11.5)),), categories=CATEGORIES
    ),
    "stacks": Figure(
        "Shares",
        FigureKind.STACKS,
        "ms",
        (Series("decode", (1.0, 2.0)), Series("model", (4.0, 3.5))),
        categories=CATEGORIES,
    ),
}


def texts(svg: str) -> list[str]:
    return [
        (element.text or "").strip() for element in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_the_element_has_the_colours_and_the_font_of_the_page(name: str) -> None:
    svg = draw_svg(FIGURES[name])
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("aria-label") == FIGURES[name].title
    assert root.get("viewBox") is not None
    assert root.get("width") is None, "the page decides"
    assert "currentColor" in svg
    assert "var(--series-1)" in svg
    assert not [colour for colour in REPLACED if colour in svg]
    assert set(re.findall(r"font-family: ([^;\"]*)", svg)) == {"var(--font)"}
    colours = re.findall(r"(?:fill|stroke): (#\w+)", svg)
    assert not colours, "every colour follows the page"
    assert not re.findall(r"(?:href|src)=\"(?!#)", svg), "nothing is loaded"


def test_bars_have_their_names_and_values() -> None:
    found = texts(draw_svg(FIGURES["bars"]))
    assert {*CATEGORIES, "3.14", "11.5", "ms"} <= set(found)


def test_stacks_have_the_sum_of_their_parts() -> None:
    found = texts(draw_svg(FIGURES["stacks"]))
    assert {*CATEGORIES, "5.00", "5.50", "decode", "model"} <= set(found)


def test_stacks_have_as_many_digits_as_the_figure_says() -> None:
    figure = Figure(
        "t", FigureKind.STACKS, "%", (Series("a", (12.46, 0.289)),), categories=("x", "y"), digits=1
    )
    assert {"12", "0.3"} <= set(texts(draw_svg(figure)))
    assert {"12.5", "0.289"} <= set(texts(draw_svg(replace(figure, digits=3))))


def test_points_have_the_numbers_of_their_names() -> None:
    found = texts(draw_svg(FIGURES["points"]))
    assert {"1", "2"} <= set(found)
    names = [" ".join(text.split()) for text in found]
    assert {"1 first", "2 second"} <= set(names)


def test_errors_that_hardly_differ_are_not_pulled_apart() -> None:
    """The axis spans 0.2 years at least: 4.50 and 4.51 are then nearly at the same height."""
    found = texts(draw_svg(FIGURES["points"]))
    ticks = [float(text) for text in found if re.fullmatch(r"4\.\d+", text)]
    assert max(ticks) - min(ticks) >= 0.19


def test_a_curve_begins_at_zero() -> None:
    assert "0" in texts(draw_svg(FIGURES["lines"]))


def test_the_same_figure_gives_the_same_text() -> None:
    assert draw_svg(FIGURES["stacks"]) == draw_svg(FIGURES["stacks"])


def test_without_matplotlib_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'halnet\[report\]'"):
        draw_svg(FIGURES["bars"])


def test_names_of_any_kind_are_shown_as_they_are() -> None:
    """A dollar sign is no formula, and a byte that is no text is a question mark."""
    name = "a $x^2$ <b> & \udcff"
    figure = Figure("f", FigureKind.BARS, "ms", (Series("s", (1.0,)),), categories=(name,))
    found = texts(draw_svg(figure))
    assert "a $x^2$ <b> & ?" in found
