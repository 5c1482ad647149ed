"""One run of `halnet bench`: candidates are opened, timed and judged, and a report comes out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from halnet.benchmarks.bench.against import compare_reports
from halnet.benchmarks.bench.candidates import (
    Candidate,
    Opened,
    find_candidates,
    find_references,
    open_candidates,
)
from halnet.benchmarks.bench.model_errors import DataConfig, measure_errors
from halnet.benchmarks.bench.parts import PARTS, measure_part
from halnet.benchmarks.bench.report import BenchReport, find_reference, read_report
from halnet.benchmarks.bench.timed_models import TimedModel, timed_models
from halnet.benchmarks.machine import (
    MAX_OTHERS,
    Conditions,
    Machine,
    describe_load,
    find_conditions,
    find_cpu_times,
    find_machine,
    share_of_others,
    wait_until_quiet,
)
from halnet.benchmarks.timing.speed import SECONDS, BenchConfig, Timing, bench, name_timings
from halnet.benchmarks.timing.spread import MAX_WIDTH, MIN_TURNS, paired_ratio
from halnet.benchmarks.timing.start_up import measure_starts, start_command
from halnet.datasets.collection import DataCollection
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import HalnetError
from halnet.reporting.sections import Section
from halnet.runtimes.base import RuntimeOptions

OnStep = Callable[[str], None]  # is called with what begins now


def no_step(text: str) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class BenchRun:
    """What is timed, and what else is measured."""

    models: tuple[Path, ...] = ()  # files and folders; empty: the bundled model
    runtimes: tuple[str, ...] = ()  # empty: all for the bundled model, one that fits for others
    options: RuntimeOptions = RuntimeOptions()  # whose runtime is not used
    timing: BenchConfig = field(default_factory=lambda: BenchConfig(seconds=SECONDS))
    starts: int = 3  # processes that are started of each candidate; 0: none
    errors: DataConfig = field(default_factory=DataConfig)
    wait: bool = False  # until the machine is quiet, for a while
    against: Path | None = None  # an earlier report
    parts: tuple[str, ...] = ()  # names in PARTS, which are measured too


def run_bench(config: BenchRun, on_step: OnStep = no_step) -> BenchReport:
    """Time candidates in turns, then start each in a process of its own and measure its errors.

    Raises ConfigError for a report that cannot be compared with, DatasetError for a dataset that
    cannot be used, and what `find_candidates` and `Opened.check` raise.
    """
    earlier = read_report(config.against) if config.against else None
    if config.errors.data:
        DataCollection([PreparedDataset(path) for path in config.errors.data])
    candidates = find_candidates(config.models, config.runtimes, config.options)
    machine = find_machine()
    if config.wait and describe_load(find_conditions(), machine.cores):
        on_step("waiting until the machine is quiet")
        wait_until_quiet(machine.cores)
    before, created = find_conditions(), datetime.now(UTC)
    with ExitStack() as stack:
        opened = _open(candidates, config, stack)
        on_step(f"timing {_count(opened.pairs)} in turns")
        first = find_cpu_times()
        timings = bench([runtime for _, runtime in opened.pairs], config.timing)
        others = share_of_others(first, find_cpu_times())
    after = find_conditions()
    models = timed_models([candidate for candidate, _ in opened.pairs], timings)
    timings = _add_starts(timings, models, config, on_step)
    timings, problems = _add_errors(timings, models, config, on_step)
    report = BenchReport(
        created=created.isoformat(timespec="seconds"),
        machine=machine,
        before=before,
        after=after,
        config=config.timing,
        threads=config.options.threads,
        timings=tuple(timings),
        failed=opened.failed,
        skipped=opened.skipped,
        warnings=(*find_warnings(machine, before, others, timings), *problems),
        others=others,
        sections=tuple(_measure_parts(models, config, on_step)),
    )
    if earlier is None:
        return report
    return replace(report, sections=(compare_reports(earlier, report), *report.sections))


def _open(candidates: Sequence[Candidate], config: BenchRun, stack: ExitStack) -> Opened:
    """Open the candidates and, of an exported folder, the checkpoint that it was made from."""
    opened = open_candidates(candidates, stack)
    opened.check()
    if config.runtimes:
        return opened
    return open_candidates(find_references(opened, config.options), stack) + opened


def _count(models: Sequence[object]) -> str:
    return f"{len(models)} model" + ("s" if len(models) > 1 else "")


def _add_starts(
    timings: Sequence[Timing], models: Sequence[TimedModel], config: BenchRun, on_step: OnStep
) -> list[Timing]:
    if not config.starts:
        return list(timings)
    on_step(f"starting {_count(timings)} in separate processes")
    batch = config.timing.batch
    commands = [start_command(model.model, model.options, batch) for model in models]
    starts = measure_starts(commands, config.starts)
    return [replace(timing, start_up=start) for timing, start in zip(timings, starts, strict=True)]


def _add_errors(
    timings: Sequence[Timing], models: Sequence[TimedModel], config: BenchRun, on_step: OnStep
) -> tuple[list[Timing], list[str]]:
    """Return the timings with the errors of their models, and why some could not be measured."""
    if not config.errors.data:
        return list(timings), []
    found: list[Timing] = []
    problems: list[str] = []
    for timing, model in zip(timings, models, strict=True):
        on_step(f"evaluating {timing.name}")
        try:
            errors = measure_errors(model.model, model.options, config.errors)
        except HalnetError as error:
            problems.append(f"The errors of {timing.name} were not measured: {error}")
            errors = ()
        found.append(replace(timing, errors=errors))
    return found, problems


def _measure_parts(
    models: Sequence[TimedModel], config: BenchRun, on_step: OnStep
) -> Iterator[Section]:
    """Yield the sections of the parts. A model that was named twice is measured once."""
    for name in config.parts:
        on_step(PARTS[name].step)
        yield measure_part(PARTS[name], list(dict.fromkeys(models)), config.options.threads)


def find_warnings(
    machine: Machine, before: Conditions, others: float | None, timings: Sequence[Timing]
) -> Iterator[str]:
    """Yield a sentence for each thing that makes the times of a benchmark doubtful.

    `others` is the share of the time of all cores that other programs used.
    """
    if load := describe_load(before, machine.cores):
        yield f"{load[0].upper()}{load[1:]}."
    if others is not None and others > MAX_OTHERS:
        yield (
            f"Other programs used {others:.0%} of the time of all cores while the models were "
            f"timed. Above {MAX_OTHERS:.0%}, another run can give other ratios, since not every "
            "runtime loses the same time to other programs."
        )
    if machine.cores.usable == 1:
        yield (
            "Only one core may be used: the runtime, this program and everything else on the "
            "machine take turns on it, so that single runs can take much longer than the median."
        )
    names = name_timings(timings)
    for name, timing in zip(names, timings, strict=True):
        if timing.warm_up.runs and not timing.warm_up.stable:
            yield f"{name} did not reach a stable time in {timing.warm_up.runs} runs of warm-up."
    turns = len(timings[0].turns)
    if turns < MIN_TURNS:
        yield (
            f"There are {turns} turns, and at least {MIN_TURNS} are needed to know how uncertain a "
            "time is: do not compare these times, or ask for more runs."
        )
        return
    reference = find_reference(timings)
    doubtful = [
        name
        for name, timing in zip(names, timings, strict=True)
        if (
            timing.is_unsteady
            if timing is reference
            else paired_ratio(timing.turns, reference.turns).is_worthless
        )
    ]
    if doubtful:
        yield (
            f"Too uncertain to be compared, because an interval is wider than {MAX_WIDTH:.0%} of "
            f"its value: {', '.join(doubtful)}."
        )
