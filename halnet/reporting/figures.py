"""Figures of a report: drawn with matplotlib as SVG, in the colours of the page around them.

Text and axes have the colour of the page's text, and data has the colours `--series-1` and so on,
which the page defines for light and dark. So one picture fits both. The text stays text: it has the
font of the page, can be searched, and is read aloud.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from itertools import cycle
from typing import Any

from halnet.evaluation.figures import import_matplotlib
from halnet.reporting.sections import Figure, FigureKind, Series, format_cell

WIDTH = 5.2  # inches: 374 units of the SVG, which a phone of 390 pixels shows at full size
HEIGHT = 3.4  # inches of the plot of points and lines
ROW = 0.44  # inches for a bar with its name above it
LEGEND_ROW = 0.2  # inches
FONT_SIZE = 10
COLOURS = 8  # of the page, for different series; then they begin again
MARKERS = "osD^vP*X"
SIDES = ((0, -10), (0, 10), (10, -8), (-10, 8))  # of a mark, in points: where its number stands
MIN_SPAN = 0.2  # of an axis that does not begin at 0: a smaller range would magnify noise
# What matplotlib draws with, and what the SVG has in its place.
INK, FAINT = "#010203", "#040506"
REPLACED = {INK: "currentColor", FAINT: "var(--faint)"} | {
    f"#0708{number:02x}": f"var(--series-{number})" for number in range(1, COLOURS + 1)
}
STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), FAINT),
    "font.size": FONT_SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.parse_math": False,  # a name may have dollar signs
    "svg.fonttype": "none",
    "svg.hashsalt": "halnet",  # the same picture gives the same text
}


def draw_svg(figure: Figure) -> str:
    """Return a figure as an SVG element for a page.

    Raises RuntimeUnavailableError if matplotlib is not installed.
    """
    import_matplotlib("drawing a figure of a report")
    from matplotlib import style
    from matplotlib.figure import Figure as Drawing

    figure = replace(
        figure,
        series=tuple(replace(part, name=_to_text(part.name)) for part in figure.series),
        categories=tuple(map(_to_text, figure.categories)),
    )
    with style.context(["default", STYLE]):
        height, draw = DRAWERS[figure.kind]
        drawing = Drawing((WIDTH, height(figure)), layout="constrained")
        axes = drawing.subplots()
        draw(axes, figure)
        if len(figure.series) > 1:
            drawing.legend(
                loc="outside lower left",
                frameon=False,
                fontsize=FONT_SIZE - 1,
                handlelength=1.5,
                borderaxespad=0.2,
            )
        text = io.StringIO()
        drawing.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _to_element(text.getvalue(), figure.title)


def _to_text(name: str) -> str:
    """Return a name with question marks for bytes that are no text, which cannot be drawn."""
    return name.encode(errors="replace").decode()


def _to_element(svg: str, title: str) -> str:
    """Return the svg element alone, without metadata, with the colours and the font of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", svg)
    for colour, name in REPLACED.items():
        svg = svg.replace(colour, name)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)


def _colour(index: int) -> str:
    return f"#0708{index % COLOURS + 1:02x}"


def _legend_height(figure: Figure) -> float:
    return LEGEND_ROW * len(figure.series) if len(figure.series) > 1 else 0.0


def _plot_height(figure: Figure) -> float:
    return HEIGHT + _legend_height(figure)


def _bars_height(figure: Figure) -> float:
    return 0.6 + ROW * len(figure.categories) * _bars_of_category(figure) + _legend_height(figure)


def _bars_of_category(figure: Figure) -> float:
    """Return how many rows a category takes: one, and half of one for each further bar."""
    return 1.0 if figure.kind is FigureKind.STACKS else 0.6 + len(figure.series) / 2


def _draw_points(axes: Any, figure: Figure) -> None:
    """Draw each series as marks with a number, which the legend repeats before the name."""
    for index, series in enumerate(figure.series):
        number = f"{index + 1}"
        axes.scatter(
            series.x,
            series.values,
            s=36,
            color=_colour(index),
            marker=MARKERS[index % len(MARKERS)],
            label=f"{number}  {series.name}",
        )
    _number_points(axes, figure.series)
    axes.set_xlim(0, 1.1 * max(x for series in figure.series for x in series.x))
    _widen(axes)
    _label(axes, figure)


def _number_points(axes: Any, series: Sequence[Series]) -> None:
    """Write the number of each series beside its marks, on changing sides of them."""
    marks = sorted(
        (x, value, number)
        for number, part in enumerate(series, 1)
        for x, value in zip(part.x, part.values, strict=True)
    )
    for (x, value, number), side in zip(marks, cycle(SIDES)):
        axes.annotate(
            f"{number}", (x, value), side, textcoords="offset points", ha="center", va="center"
        )


def _widen(axes: Any) -> None:
    """Let the vertical axis span at least `MIN_SPAN`, around what it shows."""
    low, high = axes.dataLim.intervaly
    missing = max(0.0, MIN_SPAN - (high - low)) / 2
    margin = 0.15 * max(high - low, MIN_SPAN)
    axes.set_ylim(low - missing - margin, high + missing + margin)


def _draw_lines(axes: Any, figure: Figure) -> None:
    for index, series in enumerate(figure.series):
        axes.plot(
            series.x,
            series.values,
            color=_colour(index),
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            label=series.name,
        )
    places = sorted({x for series in figure.series for x in series.x})
    if len(places) <= 8:
        axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_ylim(bottom=0)
    _label(axes, figure)


def _draw_bars(axes: Any, figure: Figure) -> None:
    """Draw a group of horizontal bars for each category, with its name above and their values."""
    rows = _bars_of_category(figure)
    for index, series in enumerate(figure.series):
        places = [-(place * rows + 0.35 + index * 0.5) for place in range(len(figure.categories))]
        drawn = axes.barh(
            places, series.values, height=0.42, color=_colour(index), label=series.name
        )
        axes.bar_label(
            drawn,
            [format_cell(value, figure.digits) for value in series.values],
            padding=3,
            fontsize=FONT_SIZE - 1,
        )
    axes.margins(x=0.12)
    _name_categories(axes, figure, rows)


def _draw_stacks(axes: Any, figure: Figure) -> None:
    """Draw a horizontal bar for each category, in which the series follow each other."""
    ends = [0.0] * len(figure.categories)
    places = [-(place + 0.35) for place in range(len(figure.categories))]
    for index, series in enumerate(figure.series):
        axes.barh(
            places, series.values, height=0.42, left=ends, color=_colour(index), label=series.name
        )
        ends = [end + value for end, value in zip(ends, series.values, strict=True)]
    axes.bar_label(
        axes.containers[-1],
        [format_cell(end, figure.digits) for end in ends],
        padding=3,
        fontsize=FONT_SIZE - 1,
    )
    axes.margins(x=0.12)
    _name_categories(axes, figure, 1.0)


def _name_categories(axes: Any, figure: Figure, rows: float) -> None:
    """Write the name of each category above its bars, where a long one has room."""
    for place, name in enumerate(figure.categories):
        axes.text(
            0,
            -(place * rows) - 0.08,
            f" {name}",
            va="bottom",
            ha="left",
            fontsize=FONT_SIZE - 1,
        )
    axes.set_ylim(-len(figure.categories) * rows + 0.1, 0.45)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(left=0)
    axes.set_xlabel(figure.value_label)


def _label(axes: Any, figure: Figure) -> None:
    axes.grid(linewidth=0.5)
    axes.set(xlabel=figure.x_label, ylabel=figure.value_label)


# How high a figure of each kind is, in inches, and what draws it.
DRAWERS: dict[FigureKind, tuple[Callable[[Figure], float], Callable[[Any, Figure], None]]] = {
    FigureKind.POINTS: (_plot_height, _draw_points),
    FigureKind.LINES: (_plot_height, _draw_lines),
    FigureKind.BARS: (_bars_height, _draw_bars),
    FigureKind.STACKS: (_bars_height, _draw_stacks),
}
