"""`halnet bench` and `halnet-bench`."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import click

from halnet.benchmarks.speed import BenchConfig, Timing, bench, cpu_name
from halnet.commands.options import RUNTIMES, join_names, json_option, runtime_options
from halnet.commands.output import print_table
from halnet.runtimes.backends import (
    bundled_model,
    bundled_runtime,
    bundled_runtimes,
    installed,
    open_model,
)
from halnet.runtimes.base import RuntimeOptions


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
) -> None:
    """Time MODELS side by side (default: the one that comes with halnet on all installed runtimes).

    The runtimes take turns on the same crops. In each turn, a runtime makes one run that is not
    timed and then several runs that all count. A run goes from aligned crops in memory to ages in
    memory, without the decoding of photos and the face detection.
    """
    config = BenchConfig(batch, runs, warmup)
    with ExitStack() as stack:
        opened = [
            stack.enter_context(open_model(model, replace(options, runtime=name)))
            for model, name in _pairs(models, runtimes, options.device)
        ]
        timings = bench(opened, config)
    if as_json:
        click.echo(json.dumps({"cpu": cpu_name(), "timings": [t.to_dict() for t in timings]}))
    else:
        print_timings(timings)


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
