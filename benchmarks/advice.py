"""Advice on INT8: whether it is faster than the other precisions of a format on this machine."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from halnet.artifact import size_artifact
from halnet.benchmarks.timing.speed import BenchConfig, bench
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.export import FORMATS, Exported
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import Runtime, RuntimeOptions, RuntimeSpec

MIN_GAIN = 1.1  # times as fast: a smaller gain is not worth the age shifts


@dataclass(frozen=True)
class Int8Advice:
    """Times and sizes of the precisions of one format, and what follows from them."""

    format: str
    runtime: str  # with its version and provider
    milliseconds: dict[str, float]  # precision: median time for one run; empty: none was compared
    sizes: dict[str, int]  # precision: bytes
    batch: int = 1  # crops in each run
    left_out: dict[str, str] = field(default_factory=dict)  # precision: why it was not compared

    @property
    def fastest_other(self) -> str | None:
        """The fastest precision except INT8; None if no other one was compared."""
        others = [name for name in self.milliseconds if name != "int8"]
        return min(others, key=lambda name: self.milliseconds[name], default=None)

    @property
    def gain(self) -> float | None:
        """How many times as fast INT8 is as the fastest other precision; None if there is none."""
        other = self.fastest_other
        return self.milliseconds[other] / self.milliseconds["int8"] if other else None

    @property
    def advice(self) -> str:
        """One line that states the times and which precision to deploy."""
        left_out = "".join(
            f"; not compared with {name.upper()}, {why}" for name, why in self.left_out.items()
        )
        other, gain = self.fastest_other, self.gain
        if other is None or gain is None:
            return f"{self.runtime}{left_out}"
        times = ", ".join(f"{name.upper()} {ms:.1f} ms" for name, ms in self.milliseconds.items())
        crops = f" for {self.batch} crops" if self.batch > 1 else ""
        found = f"{self.runtime}, {times}{crops}: INT8 is {gain:.1f} times as fast as "
        found += other.upper()
        if gain >= MIN_GAIN:
            return f"{found} and is worth it{left_out}"
        share = self.sizes["int8"] / self.sizes[other]
        return (
            f"{found} and is not worth it for speed; deploy {other.upper()}, unless you need the "
            f"smaller file ({share:.0%} of the size){left_out}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "gain": self.gain, "advice": self.advice}


def advise_int8(
    exported: Sequence[Exported], config: BenchConfig, threads: int | None = None
) -> dict[Path, Int8Advice]:
    """Time each INT8 artifact in turns with the other precisions of its format in its folder.

    Only like is compared with like: an artifact of another checkpoint, or one that takes another
    number of crops in each inference, is in `left_out`. The result leaves out INT8 artifacts that
    failed their check, that cannot run on this machine, or that are alone in their folder.
    `threads` is the number of threads for each runtime; None: one for each core.
    """
    found = {
        artifact.path: _advise(artifact, config, threads)
        for artifact in exported
        if artifact.precision == "int8" and not artifact.failed
    }
    return {path: advice for path, advice in found.items() if advice is not None}


def _advise(exported: Exported, config: BenchConfig, threads: int | None) -> Int8Advice | None:
    line = FORMATS[exported.format]
    paths = {name: exported.path.with_name(file) for name, file in line.file_names.items()}
    opened: dict[str, Runtime] = {}
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        for precision, path in paths.items():
            if not path.exists():
                continue
            try:
                runtime = open_model(path, RuntimeOptions(line.runtime, threads=threads))
            except RuntimeUnavailableError:
                return None
            except ArtifactError:
                left_out[precision] = "which cannot be opened"
                continue
            opened[precision] = stack.enter_context(runtime)
        own = opened["int8"].spec
        for precision, runtime in list(opened.items()):
            if difference := _find_difference(runtime.spec, own):
                left_out[precision] = difference
                del opened[precision]
        if len(opened) < 2 and not left_out:
            return None
        batch = max(config.batch, own.batch_limits.minimum)
        runs = replace(config, batch=batch)
        timings = bench(list(opened.values()), runs) if len(opened) > 1 else []
    return Int8Advice(
        exported.format,
        own.software,
        {name: timing.p50 for name, timing in zip(opened, timings, strict=False)},
        {name: size_artifact(paths[name]) for name in opened},
        batch,
        left_out,
    )


def _find_difference(other: RuntimeSpec, int8: RuntimeSpec) -> str:
    """Return why an artifact is not compared with INT8; empty if it is."""
    if other.metadata.checkpoint_sha256 != int8.metadata.checkpoint_sha256:
        return "which was made from another checkpoint"
    if other.batch_limits != int8.batch_limits:
        sizes = (f"a batch of {spec.batch_limits} crops" for spec in (other, int8))
        return "which takes {}, while INT8 takes {}".format(*sizes)
    return ""
