"""The page of a report in Chromium: it fits screens and paper, and asks for nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halnet.audit.report import AuditReport
from halnet.audit.report_files import write_report

CHROMIUM = Path("/usr/bin/chromium")
PAPER = 703  # pixels: A4 less two margins of 12 mm
WIDE = """[...document.querySelectorAll('table, svg, p, li, h1, h2')]
    .filter(part => part.getBoundingClientRect().right > innerWidth + 1)
    .map(part => part.textContent.slice(0, 60))"""


@pytest.fixture(scope="module")
def page(fake_report: AuditReport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, fake_report)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium; apt-get install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_the_screen_and_asks_for_nothing(
    browser: Any, page: Path, width: int, scheme: str
) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requests: list[str] = []
    problems: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: problems.append(message.text))
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert requests == [page.as_uri()]
    assert not problems
    titles = "[...document.querySelectorAll('table')].map(table => table.caption?.textContent)"
    assert all(tab.evaluate(titles)), "a table without a heading"
    lost = "[...document.querySelectorAll('nav a')].filter(a => !document.querySelector(a.hash))"
    assert tab.evaluate("document.querySelectorAll('nav a').length") >= 10
    assert tab.evaluate(f"{lost}.length") == 0
    tab.close()


def test_nothing_is_wider_than_the_paper(browser: Any, page: Path) -> None:
    tab = browser.new_page(viewport={"width": PAPER, "height": 900})
    tab.emulate_media(media="print")
    tab.goto(page.as_uri())
    assert tab.evaluate(WIDE) == []
    assert tab.evaluate("document.documentElement.scrollWidth") == PAPER
    assert tab.pdf(format="A4").startswith(b"%PDF")
    tab.close()
