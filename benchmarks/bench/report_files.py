"""The files of a benchmark's report: JSON, CSV, Markdown and one page of HTML."""

from pathlib import Path
from typing import Any

from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.bench.sections import describe_report, find_sections
from halnet.files import csv_text
from halnet.reporting.markdown import render_markdown
from halnet.reporting.page import render_page
from halnet.reporting.report_folder import check_folder_of_report, write_report_files

TITLE = "Benchmark of HAL-Net"
JSON_FILE, CSV_FILE, MARKDOWN_FILE, PAGE_FILE = (
    f"report.{suffix}" for suffix in ("json", "csv", "md", "html")
)
FILES = (JSON_FILE, CSV_FILE, MARKDOWN_FILE, PAGE_FILE)
COLUMNS = (
    *("model", "runtime", "version", "provider", "threads", "precision", "mode", "checkpoint"),
    *("batch", "computed", "runs", "warm_up_runs", "stable"),
    *("p50", "p90", "p99", "mean", "variation", "frames_per_second"),
    *("ratio", "ratio_low", "ratio_high", "device_compute", "device_total"),
    *("start_seconds", "peak_memory", "photos", "error_kind", "error", "coverage"),
    *("cpu", "created", "result", "reason", "format"),
)


def check_report_folder(folder: Path) -> None:
    """Raise an error, before anything is timed, if a report cannot be written into a folder.

    Raises ConfigError if the folder has other files than those of a report, and
    RuntimeUnavailableError if a library is missing that draws the page.
    """
    check_folder_of_report(folder, FILES)


def write_report(folder: Path, report: BenchReport) -> None:
    """Write all files of a report into a folder, all of them or none.

    Raises what `check_report_folder` raises.
    """
    check_report_folder(folder)
    sections, intro = find_sections(report), describe_report(report)
    texts = {
        JSON_FILE: report.to_json(),
        CSV_FILE: to_csv(report),
        MARKDOWN_FILE: render_markdown(TITLE, intro, sections),
        PAGE_FILE: render_page(TITLE, intro, sections),
    }
    write_report_files(folder, texts)


def to_csv(report: BenchReport) -> str:
    """Return a row for each candidate, with values for COLUMNS.

    Times are in milliseconds, errors in years, shares from 0 to 1. `result` is "timed", "failed" or
    "skipped".
    """
    common = {
        "cpu": report.machine.cpu,
        "created": report.created,
        "batch": report.config.batch,
        "format": report.format,
    }
    rows: list[dict[str, Any]] = []
    for timing in report.timings:
        ratio, start, device = report.ratio(timing), timing.start_up, timing.device
        errors = timing.errors[0] if timing.errors else None
        rows.append(
            {
                **common,
                **{name: getattr(timing, name) for name in COLUMNS if hasattr(timing, name)},
                "warm_up_runs": timing.warm_up.runs,
                "stable": int(timing.warm_up.stable),
                "ratio": ratio.value,
                "ratio_low": ratio.low,
                "ratio_high": ratio.high,
                "device_compute": device.compute if device else None,
                "device_total": device.total if device else None,
                "start_seconds": start.seconds if start else None,
                "peak_memory": start.memory if start else None,
                "photos": errors.count if errors else None,
                "error_kind": errors.kind if errors else None,
                "error": errors.error if errors else None,
                "coverage": errors.coverage if errors else None,
                "result": "timed",
            }
        )
    for result, entries in (("failed", report.failed), ("skipped", report.skipped)):
        for entry in entries:
            named = {"model": entry.model, "runtime": entry.runtime}
            rows.append({**common, **named, "result": result, "reason": entry.error})
    return csv_text(COLUMNS, rows)
