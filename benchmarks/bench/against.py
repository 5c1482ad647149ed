"""Two reports of benchmarks compared: what became faster, and what else changed."""

from collections.abc import Iterator
from pathlib import PurePath

from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.machine import Machine
from halnet.benchmarks.timing.speed import Timing
from halnet.benchmarks.timing.spread import Ratio, unpaired_ratio
from halnet.reporting.sections import Section, Table

TEXT = (
    "A ratio below 1 means that the model is faster now. Its 95 % interval is from a bootstrap "
    "over the turns of both reports. It does not contain what differs from one start of a process "
    "to the next: if that matters, make each report more than once."
)


def compare_reports(old: BenchReport, new: BenchReport) -> Section:
    """Return a section with the ratio of the times for each candidate that is in both reports."""
    pairs = [(timing, _find(timing, old)) for timing in new.timings]
    rows = []
    for timing, earlier in pairs:
        if earlier is None:
            continue
        ratio = unpaired_ratio(timing.turns, earlier.turns)
        verdict = _judge(ratio)
        rows.append(
            (
                timing.model,
                timing.runtime,
                timing.precision,
                earlier.p50,
                timing.p50,
                str(ratio),
                verdict,
            )
        )
    columns = (
        *("model", "runtime", "precision", "median then, ms", "median now, ms"),
        *("now as a multiple of then (95 % interval)", "result"),
    )
    missing = [timing.name for timing, earlier in pairs if earlier is None]
    text = [f"The earlier report is of {old.created}.", TEXT]
    if missing:
        text.append(f"Not in the earlier report: {', '.join(missing)}.")
    if not rows:
        text.append("No candidate is in both reports, so nothing is compared.")
    changes = tuple(find_changes(old, new))
    tables = [Table(columns, tuple(rows))] if rows else []
    if changes:
        tables.append(Table(("what changed", "then", "now"), changes, "Changes"))
    else:
        text.append("Machine, versions and settings are the same.")
    return Section(
        "Compared with an earlier report", tuple(text), tuple(tables), (), _warn(old, new)
    )


def _find(timing: Timing, old: BenchReport) -> Timing | None:
    """Return the same candidate in an earlier report, of several the one of the same path."""
    same = [earlier for earlier in old.timings if _key(earlier) == _key(timing)]
    return next((earlier for earlier in same if earlier.model == timing.model), None) or (
        same[0] if len(same) == 1 else None
    )


def _key(timing: Timing) -> tuple[str, str, str, str, int]:
    """Return what makes a candidate the same in another folder: not its threads, nor versions."""
    name = PurePath(timing.model).name
    return name, timing.runtime, timing.precision, timing.mode, timing.batch


def _judge(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return "not known: too few turns"
    if ratio.is_worthless:
        return "not known: too uncertain"
    if ratio.low <= 1 <= ratio.high:
        return "no difference shown"
    return "faster" if ratio.high < 1 else "slower"


def _warn(old: BenchReport, new: BenchReport) -> tuple[str, ...]:
    found = []
    if old.format != new.format:
        found.append(
            f"The earlier report has format {old.format} and this one format {new.format}: what "
            "only one of them has is not compared."
        )
    if _identity(old.machine) != _identity(new.machine):
        found.append(
            f"The earlier report is of another machine ({old.machine.cpu}): the ratios compare "
            "machines as well as programs."
        )
    return tuple(found)


def _identity(machine: Machine) -> tuple[object, ...]:
    return machine.cpu, machine.features, machine.cores


def find_changes(old: BenchReport, new: BenchReport) -> Iterator[tuple[str, str, str]]:
    """Yield what differs in machine, versions and settings: its name, its old and new value."""
    then, now = old.machine, new.machine
    values = {
        "processor": (then.cpu, now.cpu),
        "instructions for fast integers": (", ".join(then.features), ", ".join(now.features)),
        "cores that may be used": (then.cores.usable, now.cores.usable),
        "cores of the machine": (then.cores.present, now.cores.present),
        "memory, MB": (then.memory, now.memory),
        "system": (then.system, now.system),
        "threads requested": (old.threads, new.threads),
        "crops in each run": (old.config.batch, new.config.batch),
        "least number of runs": (old.config.runs, new.config.runs),
        "least time of the runs, s": (old.config.seconds, new.config.seconds),
        "format of the report": (old.format, new.format),
    }
    for name in dict.fromkeys((*then.versions, *now.versions)):
        values[f"version of {name}"] = (then.versions.get(name), now.versions.get(name))
    for timing in new.timings:
        earlier = _find(timing, old)
        if earlier is not None:
            values[f"provider of {timing.name}"] = (earlier.provider, timing.provider)
            values[f"threads of {timing.name}"] = (earlier.threads, timing.threads)
            values[f"checkpoint of {timing.name}"] = (
                earlier.checkpoint[:12],
                timing.checkpoint[:12],
            )
    for name, (before, after) in values.items():
        if before != after:
            yield name, _to_text(before), _to_text(after)


def _to_text(value: object) -> str:
    return "none" if value in (None, "") else str(value)
