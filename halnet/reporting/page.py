"""The page of a report: one HTML text that needs no other file, no script and no network."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from halnet.evaluation.figures import import_matplotlib
from halnet.packages import import_library
from halnet.reporting.figures import draw_svg
from halnet.reporting.sections import Figure, Section, Table

WHAT = "the page of a report"
LONG = 40  # characters: a longer cell may have several lines


def check_libraries() -> tuple[Any, Any]:
    """Return Jinja and MarkupSafe.

    Raises RuntimeUnavailableError if one of them or matplotlib is not installed.
    """
    import_matplotlib(WHAT)
    return import_library("jinja2", WHAT, "report"), import_library("markupsafe", WHAT, "report")


def render_page(title: str, intro: str, sections: Sequence[Section], contents: bool = False) -> str:
    """Return a report as the text of an HTML page.

    With `contents`, the first section is a summary, whose figures stand beside its text on a wide
    screen. A list of all other sections follows it, with links to them.

    Every text is escaped, so that a name such as "<b>" is shown as it is. The page has colours for
    light and dark, fits phones and paper, and forbids itself every request.

    Raises RuntimeUnavailableError if Jinja or matplotlib is not installed.
    """
    jinja2, markupsafe = check_libraries()
    folder = files("halnet.reporting")

    def draw(figure: Figure) -> object:
        return markupsafe.Markup(draw_svg(figure))  # which is an element, not a text

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    page: str = template.render(
        title=title,
        intro=intro,
        sections=sections,
        contents=contents,
        css=markupsafe.Markup((folder / "page.css").read_text(encoding="utf-8")),
        draw=draw,
        align=_align,
        length=_length,
    )
    return page + "\n"


def _align(table: Table, index: int) -> str:
    """Return the class of a column: "text" unless it has numbers alone."""
    cells = [row[index] for row in table.rows if row[index] is not None]
    return "text" if any(isinstance(cell, str) for cell in cells) else ""


def _length(text: str) -> str:
    return " long" if len(text) > LONG else ""
