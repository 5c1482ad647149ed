"""The report of a benchmark: one value that is written and read as JSON, by the names of its parts.

Everything that is shown of a benchmark follows from this value; see `sections.py`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from halnet.benchmarks.bench.candidates import NotTimed
from halnet.benchmarks.machine import Conditions, Machine
from halnet.benchmarks.timing.speed import BenchConfig, Timing
from halnet.benchmarks.timing.spread import Ratio, paired_ratio
from halnet.errors import ConfigError
from halnet.reporting.json_values import from_values, to_values
from halnet.reporting.report_folder import check_format, read_json_file
from halnet.reporting.sections import Section

FORMAT = 1  # of the report


@dataclass(frozen=True)
class BenchReport:
    """What was timed, on which machine, and what came out."""

    created: str  # time of the start, in UTC and ISO 8601
    machine: Machine
    before: Conditions  # at the first run
    after: Conditions  # after the last one
    config: BenchConfig
    threads: int | None  # of each inference on a CPU, as requested; None: one for each usable core
    timings: tuple[Timing, ...]  # there is at least one
    failed: tuple[NotTimed, ...] = ()
    skipped: tuple[NotTimed, ...] = ()
    warnings: tuple[str, ...] = ()  # sentences about what makes the times doubtful
    sections: tuple[Section, ...] = ()  # what else was measured
    # Share of the time of all cores that other programs used meanwhile, 0 to 1; None: not known.
    others: float | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        if not self.timings:
            raise ValueError("timings: expected at least one")

    @property
    def reference(self) -> Timing:
        """What the others are compared with: PyTorch if it was timed, or else the first one."""
        return find_reference(self.timings)

    def ratio(self, timing: Timing) -> Ratio:
        """Return how many times as long a candidate takes as the reference, for a run."""
        return paired_ratio(timing.turns, self.reference.turns)

    def to_json(self) -> str:
        """Return the report as JSON text. It has no infinite numbers and no NaN."""
        return json.dumps(to_values(self)) + "\n"


def find_reference(timings: Sequence[Timing]) -> Timing:
    """Return the first timing of PyTorch, or else the first of all."""
    return next((timing for timing in timings if timing.runtime == "pytorch"), timings[0])


def read_report(path: Path) -> BenchReport:
    """Read a report from a JSON file.

    Raises ConfigError if there is no such file, if it is damaged or no report, and if a newer
    version of halnet wrote it in a format that this one does not know.
    """
    cure = "name a file that halnet-bench --json or --report wrote"
    values = read_json_file(path, "the report of a benchmark", cure)
    check_format(path, values.get("format") if isinstance(values, dict) else None, FORMAT)
    try:
        return from_values(BenchReport, values)
    except ValueError as error:
        raise ConfigError(
            f"{path}: expected the report of a benchmark, found another or a damaged file "
            f"({error}); {cure}"
        ) from error
