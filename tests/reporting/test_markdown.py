from halnet.reporting.markdown import markdown_table, render_markdown
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table


def test_a_table_whose_cells_have_bars_and_lines() -> None:
    assert markdown_table(["a|b", "ms"], [["two\nlines", "7.07"]]) == (
        "| a\\|b | ms |\n| --- | --- |\n| two lines | 7.07 |"
    )


def test_a_report() -> None:
    figure = Figure("Times", FigureKind.BARS, "ms", (Series("p50", (1.0,)),), categories=("a",))
    table = Table(("model", "median, ms"), (("a", 1.23456), ("b", None)), "Medians")
    sections = [Section("Speed", ("A text.",), (table,), (figure,), ("Busy.",)), Section("End")]
    assert render_markdown("Benchmark", "Made today.", sections) == (
        "# Benchmark\n\nMade today.\n\n## Speed\n\n**Warning:** Busy.\n\nA text.\n\n**Medians**\n\n"
        "| model | median, ms |\n| --- | --- |\n| a | 1.23 |\n| b |  |\n\n## End\n"
    )


def test_a_list() -> None:
    section = Section("Speed", ("A text.",), points=(("Fast", "yes"), ("Small", "no")))
    assert render_markdown("t", "i", [section]).endswith(
        "A text.\n\n- **Fast:** yes\n- **Small:** no\n"
    )
