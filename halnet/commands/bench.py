"""`halnet bench` and `halnet-bench`."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import click

from halnet.artifact import label_model
from halnet.benchmarks.speed import BenchConfig, Timing, bench, cpu_name
from halnet.commands.options import RUNTIMES, join_names, json_option, runtime_options
from halnet.commands.output import print_table
from halnet.cores import describe_threads, find_cores
from halnet.errors import ArtifactError, HalnetError, RuntimeUnavailableError
from halnet.runtimes.backends import (
    bundled_model,
    bundled_runtime,
    bundled_runtimes,
    installed,
    open_model,
)
from halnet.runtimes.base import Runtime, RuntimeOptions


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
    help="Number of timed runs of each model.",
)
@click.option(
    "--warmup",
    default=BenchConfig.warmup,
    show_default=True,
    help="Number of runs before the timed runs of each model.",
)
@json_option()
def command(
    models: tuple[Path, ...],
    runtimes: tuple[str, ...],
    options: RuntimeOptions,
    batch: int,
    runs: int,
    warmup: int,
    as_json: bool,
) -> int:
    """Time MODELS side by side (default: the one that comes with halnet on all installed runtimes).

    The runtimes take turns on the same crops. In each turn, a runtime makes one run that is not
    timed and then several runs that all count. A run goes from aligned crops in memory to ages in
    memory, without the decoding of photos and the face detection. A model that was exported for a
    fixed number of crops computes so many in each run, and the end of the output says so.

    If one of several models is missing or damaged, or does not run here, the others are timed, and
    the exit status is 1.
    """
    config = BenchConfig(batch, runs, warmup)
    with ExitStack() as stack:
        opened, failed = _open(_pairs(models, runtimes, options.device), options, stack)
        timings = bench(opened, config)
    if as_json:
        values = {
            "cpu": cpu_name(),
            "cores": asdict(find_cores()),
            "timings": [t.to_dict() for t in timings],
            "failed": [
                {"model": label_model(model), "runtime": name, "error": str(error)}
                for (model, name), error in failed.items()
            ],
        }
        click.echo(json.dumps(values))
    else:
        print_timings(timings)
        if any(timing.threads for timing in timings):  # 0 on a GPU
            click.echo(f"On the CPU: {describe_threads(options.threads)}")
        for (model, name), error in failed.items():
            click.echo(f"{label_model(model)} (runtime {name}): not timed: {error}")
    return 1 if failed else 0


def _open(
    pairs: Sequence[tuple[Path, str]], options: RuntimeOptions, stack: ExitStack
) -> tuple[list[Runtime], dict[tuple[Path, str], HalnetError]]:
    """Open models with runtimes; return those that could be opened, and why others could not.

    Raises ArtifactError or RuntimeUnavailableError with all reasons if none could be opened.
    """
    opened: list[Runtime] = []
    failed: dict[tuple[Path, str], HalnetError] = {}
    for model, name in pairs:
        try:
            runtime = open_model(model, replace(options, runtime=name))
        except (ArtifactError, RuntimeUnavailableError) as error:
            failed[model, name] = error
        else:
            opened.append(stack.enter_context(runtime))
    if not opened:
        errors = list(failed.values())
        raise type(errors[0])("; ".join(dict.fromkeys(map(str, errors))))
    return opened, failed


def _pairs(models: Sequence[Path], runtimes: Sequence[str], device: str) -> list[tuple[Path, str]]:
    """Return each model with the name of each runtime that it is timed on."""
    if models:
        return [(model, name) for model in models for name in runtimes or ("auto",)]
    names = runtimes or installed(bundled_runtimes(), device) or [bundled_runtime(device)]
    return [(bundled_model(name), name) for name in names]


def print_timings(timings: Sequence[Timing]) -> None:
    """Print the table of a benchmark."""
    columns = [
        *("model", "runtime", "provider", "threads"),
        *("median,\nms", "90th percentile,\nms", "99th percentile,\nms", "crops\nper second"),
    ]
    rows = [
        [
            timing.model,
            f"{timing.runtime} {timing.version}",
            timing.provider,
            str(timing.threads),
            f"{timing.p50:.2f}",
            f"{timing.p90:.2f}",
            f"{timing.p99:.2f}",
            f"{timing.frames_per_second:.0f}",
        ]
        for timing in timings
    ]
    first = timings[0]
    title = f"{cpu_name()}: {first.runs} runs of each model, batch size {first.batch}, in turns"
    print_table(columns, rows, title)
    for note in dict.fromkeys(timing.note for timing in timings if timing.note):
        click.echo(note)
