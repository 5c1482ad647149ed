import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from halnet.errors import RuntimeUnavailableError

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from halnet.reporting.page import render_page
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table

EVIL = "<script>alert('x')</script> & \"quoted\""
FIGURE = Figure(EVIL, FigureKind.BARS, EVIL, (Series(EVIL, (1.0,)),), categories=(EVIL,))
SECTIONS = (
    Section(
        "Speed",
        ("A text.", EVIL),
        (
            Table(("model", "median, ms"), (("a", 1.23456), (EVIL, None)), "Medians"),
            Table(("what", "found"), (("long", "word " * 20),)),
        ),
        (FIGURE,),
        ("The machine is busy.",),
    ),
)
VOID = {"meta", "link", "br"}


class Outline(HTMLParser):
    """Collects the elements, and the text of cells, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.classes: list[str | None] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in VOID:
            return
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
            self.classes.append(dict(attributes).get("class"))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def page() -> str:
    return render_page("A & B", "Made today.", SECTIONS)


def test_every_text_is_shown_as_it_is(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert not outline.open
    assert "script" not in outline.tags
    assert outline.tags.count("svg") == 1
    assert outline.cells[:6] == ["model", "median, ms", "a", "1.23", EVIL, ""]
    assert "<title>A &amp; B</title>" in page
    assert page.count('class="warning"') == 1


def test_columns_of_numbers_and_long_cells_are_marked(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert outline.classes[:4] == ["text", "", "text", ""]
    assert outline.classes[-1] == "text long"


def test_a_list_and_the_contents() -> None:
    sections = (
        Section("In short", points=(("Speed", "fast"), (EVIL, EVIL))),
        Section("First & last", ("A text.",)),
        Section("End"),
    )
    text = render_page("t", "i", sections, contents=True)
    outline = Outline()
    outline.feed(text)
    assert not outline.open
    assert "script" not in outline.tags
    assert "<li><b>Speed:</b> fast</li>" in text
    assert re.findall(r'<a href="#(.*?)">(.*?)</a>', text) == [
        ("part-2", "First &amp; last"),
        ("part-3", "End"),
    ]
    assert re.findall(r'<section id="(.*?)"', text) == ["part-1", "part-2", "part-3"]
    assert text.index("<b>Speed") < text.index("<nav") < text.index("A text.")
    assert "<nav" not in render_page("t", "i", sections)


def test_the_page_needs_nothing_else(page: str) -> None:
    assert "default-src 'none'" in page
    addresses = re.findall(r"(?:href|src)=\"([^\"]*)\"|url\(([^)]*)\)", page)
    assert all(
        address.startswith(("#", "data:,")) for pair in addresses for address in pair if address
    )
    assert "@import" not in page


def test_the_page_has_colours_for_a_dark_screen_and_for_paper(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    for name in set(re.findall(r"var\((--[\w-]+)\)", page)):
        assert f"{name}: " in page, f"{name} is not defined"


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_without_a_library_the_error_says_what_to_install(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'halnet\[report\]'"):
        render_page("t", "i", SECTIONS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_screen_and_asks_for_nothing(
    width: int, scheme: str, page: str, tmp_path: Path
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("needs Chromium; apt-get install chromium")
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(chromium))
        tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        requests: list[str] = []
        problems: list[str] = []
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: problems.append(message.text))
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        style = "getComputedStyle(document.querySelector('svg text')).fill"
        assert tab.evaluate(style) == tab.evaluate("getComputedStyle(document.body).color")
        bar = tab.evaluate("getComputedStyle(document.querySelector('[id^=patch_3] path')).fill")
        assert bar == {"light": "rgb(0, 114, 178)", "dark": "rgb(86, 180, 233)"}[scheme]
        tab.emulate_media(media="print")
        paper = "getComputedStyle(document.documentElement).getPropertyValue('--stripe')"
        assert tab.evaluate(paper) == "#f5f6f8", "paper has the light colours"
        browser.close()
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert not problems
