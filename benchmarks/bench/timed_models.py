"""Timed models: what a benchmark has timed, ready to be opened again for its further parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from halnet.benchmarks.bench.candidates import Candidate
from halnet.benchmarks.timing.speed import Timing, name_timings
from halnet.runtimes.base import RuntimeOptions


@dataclass(frozen=True)
class TimedModel:
    """A model with the options that it was timed with."""

    name: str  # in tables and figures
    model: Path
    options: RuntimeOptions  # whose runtime is the one that was chosen
    on_cpu: bool


def timed_models(candidates: Sequence[Candidate], timings: Sequence[Timing]) -> list[TimedModel]:
    """Return a model for each candidate, from its timing, in order."""
    names = name_timings(timings)
    return [
        TimedModel(
            name,
            candidate.model,
            replace(candidate.options, runtime=timing.runtime),
            timing.threads > 0,
        )
        for name, candidate, timing in zip(names, candidates, timings, strict=True)
    ]
