"""The files of a report: one page of HTML, and one JSON file with the same content."""

from pathlib import Path

from halnet.audit.report import AuditReport
from halnet.audit.sections import describe_report, find_sections
from halnet.errors import ConfigError
from halnet.files import check_folder, write_text
from halnet.placing import STAGING_PREFIX, placed, staging
from halnet.reporting.page import check_libraries, render_page

TITLE = "Age check report of HAL-Net"
PAGE_FILE, JSON_FILE = FILES = ("report.html", "report.json")


def check_report_folder(folder: Path) -> None:
    """Raise an error, before any photo is run, if a report cannot be written into a folder.

    Raises ConfigError if the folder has other files than those of a report, and
    RuntimeUnavailableError if a library is missing that draws the page.
    """
    check_libraries()
    check_folder(folder)
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in names if name not in FILES and not name.startswith(STAGING_PREFIX)]
    if foreign:
        raise ConfigError(
            f"{folder}: expected a new or empty folder, or one with an earlier report, found "
            f"{foreign[0]} in it; name another folder"
        )


def write_report(folder: Path, report: AuditReport) -> None:
    """Write the files of a report into a folder, both of them or none.

    Raises what `check_report_folder` raises.
    """
    check_report_folder(folder)
    texts = {
        PAGE_FILE: render_page(TITLE, describe_report(report), find_sections(report)),
        JSON_FILE: report.to_json(),
    }
    with staging(folder, "report") as stage:
        for name, text in texts.items():
            write_text(stage / name, text)
        with placed((stage / name, folder / name) for name in texts):
            pass
