"""The table of targets: what was exported, how far its ages moved, how fast and how large it is.

    halnet export --format onnx --format openvino --format web --data data/aaf --out deploy
    halnet-bench deploy --report bench --threads 1
    python -m halnet.benchmarks.studies.browser_page deploy/halnet_web --data data/aaf \\
        --photos "All-Age-Faces Dataset" --json > pages.json
    python -m halnet.benchmarks.studies.targets deploy --bench bench/report.json \\
        --pages pages.json --program build/halnet_cpp

Each cell comes from one of these files or programs; what was not measured is an empty cell. The
ages, the sizes and the commands of the exports come from the manifest of the folder. Further
formats can be exported into the same folder from other environments.
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from halnet.benchmarks.bench.report import read_report
from halnet.benchmarks.machine import machine
from halnet.benchmarks.markdown import print_markdown
from halnet.errors import ConfigError
from halnet.export.formats import FORMATS, PRECISIONS
from halnet.export.manifest import read_entries
from halnet.json_text import parse_json

COLUMNS = (
    *("artifact", "options of `halnet export`", "checked by", "photos"),
    *("99th percentile of the age shift, years", "largest age shift, years"),
    *("median time for a crop, ms", "runs in", "size, MB"),
)
PROGRAM_RUNS = "300"  # timed runs of the C++ program


@dataclass(frozen=True)
class Time:
    """How long a crop takes, and what runs it."""

    milliseconds: float  # median
    runs_in: str


def rows(folder: Path, times: Mapping[str, Sequence[Time]]) -> Iterator[list[str]]:
    """Yield the rows of the artifacts of a folder, one for each of their times.

    `times` has the times by the name of the artifact. Raises ArtifactError for a folder without a
    manifest that lists artifacts.
    """
    entries = read_entries(folder)
    for name in sorted(entries, key=lambda name: _place(entries[name])):
        entry = entries[name]
        parity = max(entry["parity"].values(), key=_count, default=None)
        checked = ["not checked", "", "", ""]
        if parity is not None:
            overall = parity["overall"]
            checked = [
                *(parity["runtime"], str(_count(parity))),
                *(f"{overall['p99']:.5f}", f"{overall['maximum']:.5f}"),
            ]
        options = f"`--format {entry['format']} --precision {entry['precision']}`"
        size = f"{entry['bytes'] / 1e6:.1f}"
        cells = [[f"{time.milliseconds:.1f}", time.runs_in] for time in times.get(name, ())]
        for time in cells or [["", ""]]:
            yield [f"`{name}`", options, *checked, *time, size]


def _place(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return where an artifact stands in the table: in the order of the formats and precisions."""
    return list(FORMATS).index(entry["format"]), PRECISIONS.index(entry["precision"])


def _count(parity: Mapping[str, Any]) -> int:
    """Return on how many crops an artifact was compared with its checkpoint."""
    return int(parity["overall"]["count"])


def bench_times(report: Path) -> Iterator[tuple[str, Time]]:
    """Yield the name of each artifact that `halnet-bench` timed, with its time.

    Raises ConfigError for a file that is no such report, or whose runs have more than one crop.
    """
    read = read_report(report)
    if read.config.batch != 1:
        raise ConfigError(
            f"{report}: expected times of one crop, found a batch of {read.config.batch}; run "
            "halnet-bench without --batch"
        )
    for timing in read.timings:
        yield Path(timing.model).name, Time(timing.p50, f"{timing.runtime} {timing.version}")


def page_times(results: Path) -> Iterator[tuple[str, Time]]:
    """Yield the name of each page of the study `browser_page`, with its time in the browser.

    Raises ConfigError for a file that is none of its results.
    """
    try:
        for page in parse_json(results.read_text(encoding="utf-8")):
            runs_in = f"Chromium, {page['threads']} thread{'s' if page['threads'] > 1 else ''}"
            yield page["page"], Time(float(page["crop_milliseconds"]), runs_in)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{results}: expected what the study browser_page prints with --json, found another "
            "or a damaged file"
        ) from error


def program_time(program: Path, model: Path, crops: Path, threads: int) -> Time:
    """Return the time of the program of `examples/cpp` for a crop in a file.

    Raises ConfigError if the program cannot be run or fails.
    """
    files = (str(program), str(model), str(crops))
    command = [*files, "--threads", str(threads), "--time", PROGRAM_RUNS]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        milliseconds = float(done.stderr.split()[0])
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError) as error:
        raise ConfigError(
            f"{program}: expected the program of examples/cpp, found one that fails ({error})"
        ) from error
    return Time(milliseconds, "C++ with OpenVINO")


@click.command()
@click.argument("folder", type=Path)
@click.option("--bench", type=Path, required=True, help="JSON file of halnet-bench --report.")
@click.option("--pages", type=Path, help="Result of the study browser_page, with --json.")
@click.option("--program", type=Path, help="Program of examples/cpp, which is built already.")
@click.option(
    "--crops",
    type=Path,
    default=Path("docs/golden/1.crops.u8"),
    show_default=True,
    help="Crops for this program.",
)
@click.option("--threads", default=1, show_default=True, help="Number of threads of the program.")
def main(
    folder: Path,
    bench: Path,
    pages: Path | None,
    program: Path | None,
    crops: Path,
    threads: int,
) -> None:
    """Print the table of the artifacts in FOLDER, which halnet export wrote, in Markdown."""
    times: dict[str, list[Time]] = {}
    for name, time in bench_times(bench):
        times.setdefault(name, []).append(time)
    if pages is not None:
        shown = list(page_times(pages))
        times.update({name: [time for other, time in shown if other == name] for name, _ in shown})
    if program is not None:
        for name in ("halnet_openvino_model", "halnet_int8_openvino_model"):
            if (folder / name).exists():
                found = program_time(program, folder / name, crops, threads)
                times.setdefault(name, []).append(found)
    click.echo(f"{machine()}\n")
    print_markdown(COLUMNS, list(rows(folder, times)))


if __name__ == "__main__":
    main()
