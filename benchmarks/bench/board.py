"""The board of machines: many reports of benchmarks in one table, for the documents."""

from dataclasses import dataclass
from pathlib import Path

from halnet.artifact import CHECKPOINTS, bundled, sha256_file
from halnet.benchmarks.bench.report import BenchReport, read_report
from halnet.benchmarks.timing.speed import Timing
from halnet.errors import ConfigError
from halnet.evaluation.unseen import CHECKPOINT_SUFFIX
from halnet.reporting.markdown import markdown_table

TITLE = "# Machines"
INTRO = (
    "Median time of one run in milliseconds, from aligned crops in memory to ages in memory. "
    "`halnet-bench DEPLOY --report FOLDER/NAME` times the models in DEPLOY on your machine, and "
    "`halnet-bench --board FOLDER` makes this page of all reports in FOLDER. A time in parentheses "
    "is too uncertain to be compared."
)
COLUMNS = ("machine", "cores", "threads", "model", "crops in each run")


@dataclass(frozen=True)
class Board:
    """The reports of a folder, and why other files in it are none."""

    reports: tuple[BenchReport, ...]  # the newest first
    failed: tuple[str, ...] = ()  # a line for each file that cannot be read

    def to_markdown(self) -> str:
        """Return a page with one row for each machine, number of threads, model and batch size."""
        rows: dict[tuple[str, ...], dict[str, Timing]] = {}
        for report in self.reports:
            for timing in report.timings:  # the first one of each kind, of the newest report
                rows.setdefault(_row(report, timing), {}).setdefault(_column(timing), timing)
        names = sorted({name for found in rows.values() for name in found})
        cells = [
            [*row, *(_time(found.get(name)) for name in names)]
            for row, found in sorted(rows.items())
        ]
        return f"{TITLE}\n\n{INTRO}\n\n{markdown_table([*COLUMNS, *names], cells)}\n"


def read_board(folder: Path) -> Board:
    """Read all reports in a folder and in the folders in it, which are JSON files.

    Raises ConfigError if there is no such folder, or no report in it.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: expected a folder with reports of benchmarks, found no such folder; name "
            "the folder into which you wrote with halnet-bench --report"
        )
    reports: list[BenchReport] = []
    failed: list[str] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            reports.append(read_report(path))
        except ConfigError as error:
            failed.append(str(error))
    if not reports:
        raise ConfigError(
            "; ".join(failed)
            or f"{folder}: expected reports of benchmarks, found no JSON file; write one with "
            "halnet-bench --report"
        )
    return Board(
        tuple(sorted(reports, key=lambda report: report.created, reverse=True)), tuple(failed)
    )


def _row(report: BenchReport, timing: Timing) -> tuple[str, ...]:
    machine, cores = report.machine, report.machine.cores
    return (
        ", ".join([machine.cpu, *machine.features]),
        f"{cores.usable} of {cores.present}",
        str(timing.threads or "GPU"),
        _name_checkpoint(timing.checkpoint),
        str(timing.batch),
    )


def _column(timing: Timing) -> str:
    mode = "" if timing.mode == "latency" else f", {timing.mode}"
    return f"{timing.runtime} {timing.precision.upper()}{mode}"


def _time(timing: Timing | None) -> str:
    if timing is None:
        return ""
    return f"({timing.p50:.1f})" if timing.is_unsteady else f"{timing.p50:.1f}"


def _name_checkpoint(sha256: str) -> str:
    """Return the name of a bundled checkpoint, or the beginning of the hash of another one."""
    for name in CHECKPOINTS:
        path = bundled(name + CHECKPOINT_SUFFIX)
        if path.is_file() and sha256_file(path) == sha256:
            return name
    return sha256[:12]
