"""The roof as a section: the peaks of this machine, and how far each model is from them."""

from collections.abc import Sequence
from dataclasses import replace

from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.roof.peaks import GIGA, Peaks, measure_peaks
from halnet.benchmarks.roof.rows import RoofRow, measure_rows
from halnet.errors import HalnetError
from halnet.reporting.sections import Figure, FigureKind, Section, Series, Table

RUNS = 50  # timed inferences of each model


def measure_roof(models: Sequence[TimedModel], threads: int | None) -> Section:
    """Return the section of the roof. A model that cannot be counted is a note in it."""
    peaks = measure_peaks(threads)
    rows: list[RoofRow] = []
    notes: list[str] = []
    for model in models:
        if not model.on_cpu:
            notes.append(f"{model.name} is left out: the peaks are those of the processor.")
            continue
        try:
            (row,) = measure_rows([model.model], model.options, peaks, 1, RUNS)
        except HalnetError as error:
            notes.append(f"{model.name} is left out: {error}.")
        else:
            rows.append(replace(row, name=model.name))
    return roof_section(peaks, rows, notes)


def roof_section(peaks: Peaks, rows: Sequence[RoofRow], notes: Sequence[str]) -> Section:
    """Return what the report shows of the roof. `notes` are whole sentences."""
    text = (
        "An inference takes at least as long as its multiply-adds at the highest rate of a matrix "
        "product, and at least as long as its weights, crops and outputs through the memory. The "
        "least time is the longer of the two.",
        f"Peaks and inferences have {peaks.threads} threads; the shortest run counts for a peak, "
        f"and the median of {RUNS} for an inference.",
        *notes,
    )
    measured = Table(
        ("peak of this machine", "measured, thousand million a second", "of what", "by"),
        tuple(
            (peak.name, None if peak.rate is None else peak.rate / GIGA, unit, peak.by)
            for peak, unit in (
                *((peak, "operations") for peak in peaks.products.values()),
                *((peak, "bytes") for peak in (peaks.read, peaks.copy)),
            )
        ),
        "Peaks",
    )
    distances = Table(
        (
            *("model", "crops", "multiply-adds, million", "least time by operations, ms"),
            *("least time by memory, ms", "time if no activation stays in a cache, ms"),
            *("measured, ms", "times the least"),
        ),
        tuple(
            (
                *(row.name, row.batch, sum(row.multiply_adds.values()) / 1e6, row.by_operations),
                *(row.by_memory, row.without_cache, row.measured, row.times_least),
            )
            for row in rows
        ),
        "Distance from the roof",
    )
    warnings = tuple(f"{row.note}." for row in rows if row.note)
    tables = (distances, measured) if rows else (measured,)
    return Section("The roof", text, tables, tuple(_figures(rows)), warnings)


def _figures(rows: Sequence[RoofRow]) -> list[Figure]:
    known = [(row.name, row.least, row.measured) for row in rows if row.least is not None]
    if not known:
        return []
    names, least, measured = zip(*known, strict=True)
    series = (Series("least time", least), Series("measured", measured))
    return [Figure("Least and measured time", FigureKind.BARS, "ms", series, categories=names)]
