"""The files of a report: one page of HTML, and one JSON file with the same content."""

from pathlib import Path

from halnet.audit.report import AuditReport
from halnet.audit.sections import describe_report, find_sections
from halnet.reporting.page import render_page
from halnet.reporting.report_folder import check_folder_of_report, write_report_files

TITLE = "Age check report of HAL-Net"
PAGE_FILE, JSON_FILE = FILES = ("report.html", "report.json")


def check_report_folder(folder: Path) -> None:
    """Raise an error, before any photo is run, if a report cannot be written into a folder.

    Raises ConfigError if the folder has other files than those of a report, and
    RuntimeUnavailableError if a library is missing that draws the page.
    """
    check_folder_of_report(folder, FILES)


def write_report(folder: Path, report: AuditReport) -> None:
    """Write the files of a report into a folder, both of them or none.

    Raises what `check_report_folder` raises.
    """
    check_report_folder(folder)
    sections = find_sections(report)
    texts = {
        PAGE_FILE: render_page(TITLE, describe_report(report), sections, contents=True),
        JSON_FILE: report.to_json(),
    }
    write_report_files(folder, texts)
