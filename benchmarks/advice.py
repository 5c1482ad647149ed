"""Int8Advice: is INT8 faster than the other precisions of a runtime, on this machine?"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from halnet.artifact import size_artifact
from halnet.benchmarks.speed import BenchConfig, bench
from halnet.errors import RuntimeUnavailableError
from halnet.export import FORMATS, Exported
from halnet.runtimes.backends import open_runtime

CLEAR = 1.1  # times as fast: less is not worth a second kind of error


@dataclass(frozen=True)
class Int8Advice:
    """The precisions of one format beside each other."""

    format: str
    runtime: str
    milliseconds: dict[str, float]  # of one crop, median, by precision
    sizes: dict[str, int]  # bytes, by precision

    @property
    def rival(self) -> str:
        """The fastest other precision."""
        others = [name for name in self.milliseconds if name != "int8"]
        return min(others, key=lambda name: self.milliseconds[name])

    @property
    def gain(self) -> float:
        """How many times as fast INT8 is as its rival."""
        return self.milliseconds[self.rival] / self.milliseconds["int8"]

    @property
    def advice(self) -> str:
        """One line that says which to deploy."""
        times = ", ".join(f"{k.upper()} {v:.1f} ms" for k, v in self.milliseconds.items())
        rival = self.rival.upper()
        verdict = "worth it"
        if self.gain < CLEAR:
            share = self.sizes["int8"] / self.sizes[self.rival]
            verdict = (
                f"not worth it for speed, deploy {rival}, unless a file of {share:.0%} of the size "
                "matters"
            )
        return (
            f"{self.runtime}, {times}: INT8 is {self.gain:.1f} times as fast as {rival}: {verdict}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "gain": self.gain, "advice": self.advice}


def advise_int8(
    made: Sequence[Exported], config: BenchConfig, threads: int | None = None
) -> dict[Path, Int8Advice]:
    """Time each INT8 artifact beside its folder's others of the format and checkpoint, in turns.

    Left out are artifacts that failed, that do not run on this machine, or that stand alone.
    """
    found = {
        exported.path: _advise(exported, config, threads)
        for exported in made
        if exported.precision == "int8" and not exported.failed
    }
    return {path: worth for path, worth in found.items() if worth is not None}


def _advise(exported: Exported, config: BenchConfig, threads: int | None) -> Int8Advice | None:
    target = FORMATS[exported.format]
    opened = {}
    with ExitStack() as stack:
        for precision, name in target.file_names.items():
            path = exported.path.with_name(name)
            if not path.exists():
                continue
            try:
                runtime = open_runtime(path, target.runtime, threads=threads)
            except RuntimeUnavailableError:
                return None
            opened[precision] = stack.enter_context(runtime)
        checkpoint = opened["int8"].spec.metadata.checkpoint_sha256
        alike = {
            precision: runtime
            for precision, runtime in opened.items()
            if runtime.spec.metadata.checkpoint_sha256 == checkpoint
        }
        if len(alike) < 2:
            return None
        timings = bench(list(alike.values()), config)
    spec = alike["int8"].spec
    return Int8Advice(
        exported.format,
        f"{spec.runtime} {spec.version}, {spec.provider}",
        {name: timing.p50 for name, timing in zip(alike, timings, strict=True)},
        {name: size_artifact(exported.path.with_name(target.file_names[name])) for name in alike},
    )
