"""The sections of a benchmark's report: what the terminal, Markdown and the page show of it."""

from collections.abc import Sequence

from halnet.ages import LEVEL
from halnet.benchmarks.bench.model_errors import ModelErrors
from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.machine import Conditions
from halnet.benchmarks.timing.speed import Timing, name_timings
from halnet.benchmarks.timing.spread import MAX_WIDTH, MIN_TURNS
from halnet.reporting.sections import Cell, Figure, FigureKind, Section, Series, Table

ERROR_DIGITS = 4  # that count
RULE = (
    f"Times are compared only where the 95 % interval of their ratio is at most {MAX_WIDTH:.0%} of "
    f"it wide. Intervals are from a bootstrap over turns, and need {MIN_TURNS} of them."
)


def find_sections(report: BenchReport) -> tuple[Section, ...]:
    """Return all sections of a report, the most important one first."""
    found = [
        _speed(report),
        *([_device(report.timings)] if any(timing.device for timing in report.timings) else []),
        *([_errors(report.timings)] if any(timing.errors for timing in report.timings) else []),
        *([_starts(report)] if any(timing.start_up for timing in report.timings) else []),
        *report.sections,
        *([_not_timed(report)] if report.failed or report.skipped else []),
        _machine(report),
    ]
    return tuple(found)


def describe_report(report: BenchReport) -> str:
    """Return when and where a report was made, in one sentence."""
    versions = report.machine.versions
    return (
        f"Made by halnet {versions.get('halnet', '')} on {report.created[:10]} at "
        f"{report.created[11:16]} UTC. "
        f"Processor: {report.machine.cpu}, {report.machine.cores.usable} of "
        f"{report.machine.cores.present} cores."
    )


def _speed(report: BenchReport) -> Section:
    config, reference = report.config, report.reference
    crops = f"{config.batch} crop" + ("s" if config.batch > 1 else "")
    least = min(timing.runs for timing in report.timings)
    text = (
        f"At least {least} runs of each model, batch size {config.batch}, in {config.turns} turns. "
        f"A run goes from {crops} in memory to ages in memory, without the decoding of photos and "
        "the face detection. No timed run is left out.",
        f"Threads on the CPU: {_describe_threads(report)}.",
        RULE,
        *dict.fromkeys(timing.note for timing in report.timings if timing.note),
    )
    several = len(report.timings) > 1
    names = name_timings(report.timings)
    columns = (
        *("model", "precision", "median, ms", "90th percentile, ms", "99th percentile, ms"),
        *([f"times as long as {_short(reference)} (95 % interval)"] if several else []),
        "crops per second",
        *(_error_columns(report.timings)),
    )
    rows = tuple(
        (
            name,
            timing.precision,
            timing.p50,
            timing.p90,
            timing.p99,
            *(["1" if timing is reference else str(report.ratio(timing))] if several else []),
            timing.frames_per_second,
            *_error_cells(timing, report.timings),
        )
        for name, timing in zip(names, report.timings, strict=True)
    )
    figures = (_error_figure(report.timings), _latency_figure(report.timings))
    return Section(
        "Speed",
        text,
        (Table(columns, rows, digits=_error_digits(report.timings)), _details(report.timings)),
        tuple(figure for figure in figures if figure),
        report.warnings,
    )


def _details(timings: Sequence[Timing]) -> Table:
    columns = (
        *("model", "runtime", "provider", "threads", "mode", "timed runs", "runs of warm-up"),
        *("mean, ms", "coefficient of variation, %"),
    )
    rows = tuple(
        (
            timing.model,
            f"{timing.runtime} {timing.version}",
            timing.provider,
            timing.threads,
            timing.mode,
            timing.runs,
            timing.warm_up.runs,
            timing.mean,
            100 * timing.variation,
        )
        for timing in timings
    )
    return Table(columns, rows, "Details")


def _short(timing: Timing) -> str:
    return f"{timing.runtime} {timing.precision}"


def _describe_threads(report: BenchReport) -> str:
    cores = report.machine.cores
    obtained = sorted({timing.threads for timing in report.timings if timing.threads})
    given = f"{report.threads} requested" if report.threads else f"{cores.usable}, one a core"
    if not report.threads and cores.limit:
        given += f" of {cores.present}, because {cores.limit} allows no more"
    return f"{given}; the runtimes state {', '.join(map(str, obtained)) or 'none'}"


def _first(timing: Timing) -> ModelErrors | None:
    return timing.errors[0] if timing.errors else None


def _error_columns(timings: Sequence[Timing]) -> tuple[str, ...]:
    kinds = {errors.kind for errors in map(_first, timings) if errors}
    if not kinds:
        return ()
    return f"{' or '.join(sorted(kinds))}, years", f"true ages inside {LEVEL:.0%} interval, %"


def _error_digits(timings: Sequence[Timing]) -> dict[str, int]:
    """Return more digits for errors, since those of the artifacts of one model hardly differ."""
    return dict.fromkeys([*_error_columns(timings)[:1], "error, years"], ERROR_DIGITS)


def _error_cells(timing: Timing, timings: Sequence[Timing]) -> tuple[Cell, ...]:
    if not _error_columns(timings):
        return ()
    errors = _first(timing)
    return (errors.error, 100 * errors.coverage) if errors else (None, None)


def _error_figure(timings: Sequence[Timing]) -> Figure | None:
    """Return the main picture: the error of each candidate against its time."""
    series = [
        Series(name, (errors.error,), (timing.p50,))
        for name, timing in zip(name_timings(timings), timings, strict=True)
        if (errors := _first(timing))
    ]
    if not series:
        return None
    return Figure(
        "Error against time (the axis of the error does not begin at 0)",
        FigureKind.POINTS,
        _error_columns(timings)[0],
        tuple(series),
        "median time of a run, ms",
    )


def _latency_figure(timings: Sequence[Timing]) -> Figure:
    medians = tuple(timing.p50 for timing in timings)
    return Figure(
        "Median time of a run",
        FigureKind.BARS,
        "milliseconds",
        (Series("median", medians),),
        categories=tuple(name_timings(timings)),
    )


def _device(timings: Sequence[Timing]) -> Section:
    rows = tuple(
        (name, timing.provider, timing.device.compute, timing.device.total, timing.p50)
        for name, timing in zip(name_timings(timings), timings, strict=True)
        if timing.device
    )
    columns = (
        *("model", "provider", "model alone, ms", "with transfers, ms"),
        "by the clock of the program, ms",
    )
    text = (
        "The clock of the GPU measures what the GPU does, by events in its stream. Transfers are "
        "those of the crops to the GPU and of the outputs from it. The values are medians.",
    )
    return Section("Clock of the GPU", text, (Table(columns, rows),))


def _errors(timings: Sequence[Timing]) -> Section:
    rows = tuple(
        (
            name,
            errors.photos,
            errors.count,
            errors.kind,
            errors.error,
            100 * errors.coverage,
        )
        for name, timing in zip(name_timings(timings), timings, strict=True)
        for errors in timing.errors
    )
    columns = (
        *("model", "dataset", "photos", "kind of error"),
        *("error, years", f"true ages inside {LEVEL:.0%} interval, %"),
    )
    text = (
        "MAE is the mean absolute error. Where labels are ranges of ages, the error is the mean "
        "distance to the range. All models see the same photos, so that their errors can be "
        "compared more closely than the error of a single one is known.",
    )
    return Section("Errors", text, (Table(columns, rows, digits=_error_digits(timings)),))


def _starts(report: BenchReport) -> Section:
    starts = [
        (name, timing.start_up)
        for name, timing in zip(name_timings(report.timings), report.timings, strict=True)
        if timing.start_up
    ]
    count = max(start.processes for _, start in starts)
    often = "once" if count == 1 else f"{count} times"
    text = (
        f"Each model is opened in a process of its own, {often}; the values are medians. The "
        "time is that from the start of the process to its first ages, and the memory is the "
        "largest resident memory of the process.",
    )
    columns = ("model", "first age after, s", "peak memory, MB")
    rows = tuple((name, start.seconds, start.memory) for name, start in starts)
    problems = (f"{name}: {start.problem}." for name, start in starts if start.problem)
    return Section("Start and memory", text, (Table(columns, rows),), (), tuple(problems))


def _not_timed(report: BenchReport) -> Section:
    rows = tuple(
        (entry.model, entry.runtime, kind, entry.error)
        for kind, entries in (("failed", report.failed), ("skipped", report.skipped))
        for entry in entries
    )
    text = (
        "Skipped models are listed by the manifest of a folder and cannot run on this machine.",
    )
    columns = ("model", "runtime", "result", "reason")
    return Section("Not timed", text if report.skipped else (), (Table(columns, rows),))


def _machine(report: BenchReport) -> Section:
    machine, cores = report.machine, report.machine.cores
    limit = f", because {cores.limit} allows no more" if cores.limit else ""
    others = "not known" if report.others is None else f"{report.others:.0%} of all cores"
    rows: tuple[tuple[Cell, ...], ...] = (
        ("processor", machine.cpu),
        ("instructions for fast integers", ", ".join(machine.features) or "none known"),
        ("cores that may be used", f"{cores.usable} of {cores.present}{limit}"),
        ("memory", f"{machine.memory:,} MB" if machine.memory else "not known"),
        ("system", machine.system),
        ("before the first run", _describe_conditions(report.before)),
        ("after the last run", _describe_conditions(report.after)),
        ("used by other programs meanwhile", others),
        *((f"version of {name}", number) for name, number in machine.versions.items()),
    )
    return Section("Machine", (), (Table(("what", "found"), rows),))


def _describe_conditions(conditions: Conditions) -> str:
    load = "not known" if conditions.load is None else f"{conditions.load:.2f}"
    clock = "cannot be read" if conditions.clock is None else f"{conditions.clock:.0f} MHz"
    return f"load average {load}, clock {clock}"
