"""`halnet bench` and `halnet-bench`."""

import json
from contextlib import ExitStack
from pathlib import Path

import click

from halnet.benchmarks.speed import BenchConfig, Timing, bench, cpu_name
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
    help="To time the models on; may be repeated. Default: of the bundled model all that are "
    "installed, of others the first that runs it.",
)
@click.option("--device", default="auto", show_default=True, help="Of every runtime.")
@click.option("--threads", type=click.IntRange(1), help="Of every runtime; default: all cores.")
@click.option("--mode", default="latency", show_default=True, help="latency, or throughput.")
@click.option("--batch", default=1, show_default=True, help="Crops a run.")
@click.option("--runs", default=200, show_default=True, help="Timed runs of each model.")
@click.option("--warmup", default=20, show_default=True, help="Runs before, not timed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    models: tuple[Path, ...],
    runtimes: tuple[str, ...],
    device: str,
    threads: int | None,
    mode: str,
    batch: int,
    runs: int,
    warmup: int,
    as_json: bool,
) -> None:
    """Time MODELS side by side (default: the bundled one on every runtime installed).

    The runtimes take turns of ten runs on the same crops, after one that is not timed; all timed
    runs are in the figures. Times are from aligned crops in memory to ages in memory: detection
    and decoding are not in them.
    """
    pairs = [(model, name) for model in models for name in runtimes or ("auto",)]
    if not models:
        names = runtimes or installed(bundled_runtimes(), device) or (bundled_runtime(device),)
        pairs = [(bundled_model(name), name) for name in names]
    with ExitStack() as stack:
        opened = [
            stack.enter_context(open_model(model, RuntimeOptions(name, device, threads, mode)))
            for model, name in pairs
        ]
        timings = bench(opened, BenchConfig(batch, runs, warmup))
    if as_json:
        click.echo(json.dumps({"cpu": cpu_name(), "timings": [t.to_dict() for t in timings]}))
    else:
        show(timings)


def show(timings: list[Timing]) -> None:
    """Print the table of a benchmark."""
    columns = ["model", "runtime", "provider", "threads", "p50 ms", "p90 ms", "p99 ms", "frames/s"]
    rows = [
        [
            t.model,
            f"{t.runtime} {t.version}",
            t.provider,
            str(t.threads),
            f"{t.p50:.2f}",
            f"{t.p90:.2f}",
            f"{t.p99:.2f}",
            f"{t.frames_per_second:.0f}",
        ]
        for t in timings
    ]
    title = f"{cpu_name()}, batch {timings[0].batch}, {timings[0].runs} runs each, in turns"
    print_table(columns, rows, title)
