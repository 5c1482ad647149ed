"""The sweep: how many crops a second each model computes, by its threads and its batch size."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.timing.speed import BenchConfig, bench
from halnet.cores import find_cores
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table
from halnet.runtimes.backends import open_model

BATCHES = (1, 2, 4, 8, 16, 32)  # crops in a run
TURNS = 3  # of each model with each number of threads and each batch size
SECONDS = 1.0  # that these turns take together, at least
MS = 1000


@dataclass(frozen=True)
class SweepRow:
    """The crops a second of a model with a number of threads, for each of BATCHES."""

    model: str
    threads: int | None  # None: the model runs on a GPU
    rates: tuple[float, ...]  # of the median run


def thread_counts(cores: int) -> list[int]:
    """Return 1, 2, 4 and so on up to a number of cores, and that number."""
    return sorted({1 << power for power in range(cores.bit_length())} | {cores})


def measure_sweep(models: Sequence[TimedModel], threads: int | None = None) -> Section:
    """Return the section of the speeds of models by threads and batch size.

    The threads go up to the usable cores, whatever `threads` was requested. Raises what
    `open_model` raises.
    """
    del threads
    return sweep_section(sweep(models, thread_counts(find_cores().usable)))


def sweep(models: Sequence[TimedModel], counts: Sequence[int]) -> list[SweepRow]:
    """Time models side by side, with each number of threads and each of BATCHES.

    A model on a GPU is timed once, with the last one of `counts`. Rows are sorted by models.
    """
    rows: dict[str, list[SweepRow]] = {model.name: [] for model in models}
    for count in counts:
        chosen = [model for model in models if model.on_cpu or count == counts[-1]]
        with ExitStack() as stack:
            runtimes = [
                stack.enter_context(open_model(model.model, replace(model.options, threads=count)))
                for model in chosen
            ]
            columns = [
                bench(runtimes, BenchConfig(batch, TURNS, warmup=0, seconds=SECONDS))
                for batch in BATCHES
                if runtimes
            ]
        for model, timings in zip(chosen, zip(*columns, strict=True), strict=True):
            rates = tuple(MS * timing.batch / timing.p50 for timing in timings)
            rows[model.name].append(SweepRow(model.name, count if model.on_cpu else None, rates))
    return [row for found in rows.values() for row in found]


def sweep_section(rows: Sequence[SweepRow]) -> Section:
    """Return what the report shows of a sweep."""
    text = (
        f"Each value is that of the median run of {TURNS} turns, which take at least {SECONDS:g} s "
        "together. The first run of each turn is not timed. A run goes from crops in memory to "
        "ages in memory.",
    )
    most = {row.model: row for row in rows}  # the last row of each model has the most threads
    table = Table(
        ("model", "threads", *(f"batch size {size}, crops per second" for size in BATCHES)),
        tuple((row.model, row.threads, *row.rates) for row in rows),
    )
    by_batch = Figure(
        "Speed by batch size, with all threads",
        FigureKind.LINES,
        "crops per second",
        tuple(Series(name, row.rates, BATCHES) for name, row in most.items()),
        "crops in a run",
    )
    threads: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        if row.threads:
            threads.setdefault(row.model, []).append((row.threads, row.rates[0]))
    by_threads = Figure(
        "Speed by threads, with batch size 1",
        FigureKind.LINES,
        "crops per second",
        tuple(
            Series(name, tuple(rate for _, rate in points), tuple(count for count, _ in points))
            for name, points in threads.items()
        ),
        "threads",
    )
    figures = (by_batch, by_threads) if threads else (by_batch,)
    return Section("Threads and batch size", text, (table,), figures)
