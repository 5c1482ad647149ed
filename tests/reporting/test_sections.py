import pytest

from halnet.reporting.sections import Figure, FigureKind, Series, Table, format_cell


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("1.23456", "1.23456"),
        (12345, "12,345"),
        (0.0, "0"),
        (0.00123456, "0.00123"),
        (0.0000123456, "1.2e-05"),
        (0.123456, "0.123"),
        (3.14159, "3.14"),
        (-3.14159, "-3.14"),
        (31.4159, "31.4"),
        (314.159, "314"),
        (31415.9, "31,416"),
        (float("nan"), "nan"),
    ],
)
def test_cells_are_rounded_to_what_a_reader_needs(cell: object, text: str) -> None:
    assert format_cell(cell) == text  # type: ignore[arg-type]


def test_a_row_with_too_few_cells_is_an_error() -> None:
    with pytest.raises(ValueError, match="table Times: expected 2 cells, found 1 in the row"):
        Table(("model", "ms"), (("a", 1.0), ("b",)), "Times")


def test_a_series_that_does_not_fit_its_figure_is_an_error() -> None:
    series = (Series("decode", (1.0,)),)
    with pytest.raises(ValueError, match="figure Shares: expected 2 values, found 1 in .* decode"):
        Figure("Shares", FigureKind.STACKS, "ms", series, categories=("a", "b"))
    points = (Series("a", (1.0,), (1.0, 2.0)),)
    with pytest.raises(ValueError, match="figure Curve: expected 2 values, found 1"):
        Figure("Curve", FigureKind.LINES, "ms", points)
