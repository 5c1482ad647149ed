"""`halnet bench` and `halnet-bench`."""

import functools
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from halnet.benchmarks.bench.board import read_board
from halnet.benchmarks.bench.model_errors import DataConfig
from halnet.benchmarks.bench.parts import PARTS
from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.bench.report_files import FILES, check_report_folder, to_csv, write_report
from halnet.benchmarks.bench.run import BenchRun, run_bench
from halnet.benchmarks.bench.sections import describe_report, find_sections
from halnet.benchmarks.machine import MAX_LOAD, WAIT_LIMIT
from halnet.benchmarks.timing.speed import SECONDS, BenchConfig
from halnet.commands.options import (
    RUNTIMES,
    FiniteRange,
    join_names,
    json_option,
    runtime_options,
    split_option,
)
from halnet.commands.output import print_table
from halnet.files import write_text
from halnet.placing import check_target
from halnet.runtimes.base import RuntimeOptions

HEAD_WIDTH = 16  # characters of a line of a column's head


def parts_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command an option for each part of a benchmark; it gets their names as `parts`."""

    @functools.wraps(function)
    def with_parts(*, all_parts: bool, **given: Any) -> int:
        chosen = {name: given.pop(name) or all_parts for name in PARTS}
        return function(**given, parts=tuple(name for name in PARTS if chosen[name]))

    described: Callable[..., int] = with_parts
    everything = f"The same as {join_names([f'--{name}' for name in PARTS], 'and')}."
    described = click.option("--all", "all_parts", is_flag=True, help=everything)(described)
    for name, part in reversed(PARTS.items()):
        described = click.option(f"--{name}", is_flag=True, help=part.help)(described)
    return described


@click.command("bench")
@click.argument("models", type=Path, nargs=-1)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    help=f"Runtime that the models are timed on: {join_names([*RUNTIMES, 'auto'])}. You can repeat "
    "this option. Default: all installed runtimes for the model that comes with halnet, and auto "
    "for other models.",
)
@runtime_options("device", "threads", "mode")
@click.option(
    "--batch",
    default=BenchConfig.batch,
    show_default=True,
    help="Number of crops in each run.",
)
@click.option(
    "--runs",
    default=BenchConfig.runs,
    show_default=True,
    help="Least number of timed runs of each model.",
)
@click.option(
    "--seconds",
    default=SECONDS,
    show_default=True,
    type=FiniteRange(0),
    help="Least time that the timed runs of each model take together.",
)
@click.option(
    "--warmup",
    default=BenchConfig.warmup,
    show_default=True,
    type=click.IntRange(0),
    help="Least number of runs of each model before the timed runs. More follow until the time of "
    "a run is stable. 0: no warm-up.",
)
@click.option(
    "--starts",
    default=BenchRun.starts,
    show_default=True,
    type=click.IntRange(0),
    help="How often each model is started in a process of its own, to measure the time to the "
    "first age and the peak memory. 0: not at all.",
)
@click.option(
    "--data",
    type=Path,
    multiple=True,
    help="Folder of a prepared dataset, which halnet prepare wrote. The MAE and the share of true "
    "ages inside the 90 % interval of each model stand beside its times. Name several datasets by "
    "repeating the option.",
)
@split_option
@click.option(
    "--limit",
    default=DataConfig.limit,
    show_default=True,
    type=click.IntRange(0),
    help="Largest number of photos of each dataset, spread evenly. 0: all of them.",
)
@click.option(
    "--wait",
    is_flag=True,
    help=f"Wait until the load of the machine is at most {MAX_LOAD:.0%} of its cores, for "
    f"{WAIT_LIMIT / 60:.0f} minutes at most.",
)
@parts_options
@json_option()
@click.option("--csv", "csv_file", type=Path, help="Write a row for each model into this CSV file.")
@click.option(
    "--report",
    "report_folder",
    type=Path,
    help=f"Write the report into this folder, as {join_names(FILES, 'and')}. The page needs the "
    "extra report, and no network.",
)
@click.option(
    "--against",
    type=Path,
    help="JSON file of an earlier report. The times are compared with those in it.",
)
@click.option(
    "--board",
    type=Path,
    help="Time nothing: print one table in Markdown of all reports (JSON files) in this folder.",
)
def command(
    models: tuple[Path, ...],
    runtimes: tuple[str, ...],
    options: RuntimeOptions,
    batch: int,
    runs: int,
    seconds: float,
    warmup: int,
    starts: int,
    data: tuple[Path, ...],
    split: str,
    limit: int,
    wait: bool,
    as_json: bool,
    csv_file: Path | None,
    report_folder: Path | None,
    against: Path | None,
    board: Path | None,
    parts: tuple[str, ...],
) -> int:
    """Time MODELS side by side (default: the one that comes with halnet on all installed runtimes).

    A folder that halnet export wrote stands for all artifacts that its manifest.json lists. Of
    these, a model is skipped if its runtime is missing on this machine. If they were made from a
    checkpoint that comes with halnet, and PyTorch is installed, it is timed too, so that the others
    are compared with it.

    The models take turns on the same crops. In each turn, a model makes one run that is not timed
    and then several runs that all count. A run goes from aligned crops in memory to ages in memory,
    without the decoding of photos and the face detection. A model that was exported for a fixed
    number of crops computes so many in each run, and the output says so. The output also warns of
    times that are too uncertain to be compared.

    If one of several models is missing or damaged, or was named by itself and does not run here,
    the others are timed, and the exit status is 1.
    """
    if board is not None:
        if models:
            raise click.UsageError("--board times nothing: leave out the models.")
        return _print_board(board)
    if csv_file is not None:
        check_target(csv_file)
    if report_folder is not None:
        check_report_folder(report_folder)
    config = BenchRun(
        models,
        runtimes,
        options,
        BenchConfig(batch, runs, warmup, seconds),
        starts,
        DataConfig(data, split, limit),
        wait,
        against,
        parts,
    )
    report = run_bench(config, lambda text: click.echo(text, err=True))
    if csv_file is not None:
        write_text(csv_file, to_csv(report))
    if report_folder is not None:
        write_report(report_folder, report)
        click.echo(f"{report_folder} has {join_names(FILES, 'and')}", err=True)
    if as_json:
        click.echo(report.to_json(), nl=False)
    else:
        print_report(report)
    return 1 if report.failed else 0


def _print_board(folder: Path) -> int:
    found = read_board(folder)
    click.echo(found.to_markdown(), nl=False)
    for line in found.failed:
        click.echo(f"halnet: {line}", err=True)
    return 1 if found.failed else 0


def print_report(report: BenchReport) -> None:
    """Print the sections of a benchmark's report: warnings, text and tables, without pictures."""
    click.echo(describe_report(report))
    for section in find_sections(report):
        click.echo(f"\n{section.title.upper()}")
        for warning in section.warnings:
            click.echo(f"Warning: {warning}")
        for paragraph in section.text:
            click.echo(paragraph)
        for table in section.tables:
            heads = [textwrap.fill(column, HEAD_WIDTH) for column in table.columns]
            print_table(heads, table.texts, table.title)
