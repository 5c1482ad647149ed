"""Sections: what a report consists of, with all of its values as they were measured.

A report is a list of sections. The page, the Markdown file and the terminal round the values; the
JSON file keeps them. To add a part to a report, add a section.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

DIGITS = 3  # that count, of a number with a fraction
Cell = str | int | float | None  # None: there is no value


@dataclass(frozen=True)
class Table:
    """Columns and rows. Each row has one cell for each column."""

    columns: tuple[str, ...]  # a head that can be understood alone, with its unit
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    digits: dict[str, int] = field(default_factory=dict)  # column: digits that count, if not DIGITS

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title or self.columns[0]}: expected {len(self.columns)} cells, "
                    f"found {len(row)} in the row {row}"
                )

    @property
    def texts(self) -> list[list[str]]:
        """The rows with all cells as texts, as a reader sees them."""
        return [
            [
                format_cell(cell, self.digits.get(column, DIGITS))
                for column, cell in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]


class FigureKind(StrEnum):
    """How a figure is drawn."""

    POINTS = "points"  # each series is one mark, or several; numbers lead to the names
    LINES = "lines"  # each series is a curve over `x`
    BARS = "bars"  # each category has a bar; with several series, a bar of each
    STACKS = "stacks"  # each category has one bar, in which the series follow each other


@dataclass(frozen=True)
class Series:
    """Values that have one name and one colour."""

    name: str
    values: tuple[float, ...]
    # Of points and lines: where each value is. Bars and stacks have `Figure.categories` instead.
    x: tuple[float, ...] = ()


@dataclass(frozen=True)
class Figure:
    """One picture, as the values that it shows."""

    title: str
    kind: FigureKind
    value_label: str  # of the axis of `Series.values`, with the unit
    series: tuple[Series, ...]
    x_label: str = ""  # of points and lines
    categories: tuple[str, ...] = ()  # of bars and stacks: a name for each of the values
    digits: int = DIGITS  # that count, of the values that stand at bars and stacks

    def __post_init__(self) -> None:
        by_category = self.kind in (FigureKind.BARS, FigureKind.STACKS)
        for series in self.series:
            count = len(self.categories) if by_category else len(series.x)
            if len(series.values) != count:
                raise ValueError(
                    f"figure {self.title}: expected {count} values, found {len(series.values)} "
                    f"in the series {series.name}"
                )


@dataclass(frozen=True)
class Section:
    """One part of a report: a title, paragraphs, a list, then figures, then tables."""

    title: str
    text: tuple[str, ...] = ()  # paragraphs
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    warnings: tuple[str, ...] = ()  # sentences that a reader must not miss
    points: tuple[tuple[str, str], ...] = ()  # items of the list: what it is about, and a text


def format_cell(cell: Cell, digits: int = DIGITS) -> str:
    """Return a cell as text. Of a number with a fraction, so many digits that count are shown."""
    if cell is None:
        return ""
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else cell
    size = abs(cell)
    if not math.isfinite(cell):
        return str(cell)
    if size < 1e-4:
        return f"{cell:.2g}"
    return f"{cell:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}"
