"""Advice on INT8: whether it is faster than the other precisions of a format on this machine."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from halnet.artifact import size_artifact
from halnet.benchmarks.speed import BenchConfig, bench
from halnet.errors import RuntimeUnavailableError
from halnet.export import FORMATS, Exported
from halnet.runtimes.backends import open_model
from halnet.runtimes.base import Runtime, RuntimeOptions

MIN_GAIN = 1.1  # times as fast: a smaller gain is not worth the age shifts


@dataclass(frozen=True)
class Int8Advice:
    """Times and sizes of the precisions of one format, and what follows from them."""

    format: str
    runtime: str  # with its version and provider
    milliseconds: dict[str, float]  # precision: median time for one crop
    sizes: dict[str, int]  # precision: bytes

    @property
    def fastest_other(self) -> str:
        """The fastest precision except INT8."""
        others = [name for name in self.milliseconds if name != "int8"]
        return min(others, key=lambda name: self.milliseconds[name])

    @property
    def gain(self) -> float:
        """How many times as fast INT8 is as the fastest other precision."""
        return self.milliseconds[self.fastest_other] / self.milliseconds["int8"]

    @property
    def advice(self) -> str:
        """One line that states the times and which precision to deploy."""
        other = self.fastest_other
        times = ", ".join(f"{name.upper()} {ms:.1f} ms" for name, ms in self.milliseconds.items())
        found = f"{self.runtime}, {times}: INT8 is {self.gain:.1f} times as fast as {other.upper()}"
        if self.gain >= MIN_GAIN:
            return f"{found} and is worth it"
        share = self.sizes["int8"] / self.sizes[other]
        return (
            f"{found} and is not worth it for speed; deploy {other.upper()}, unless you need the "
            f"smaller file ({share:.0%} of the size)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {**asdict(self), "gain": self.gain, "advice": self.advice}


def advise_int8(
    exported: Sequence[Exported], config: BenchConfig, threads: int | None = None
) -> dict[Path, Int8Advice]:
    """Time each INT8 artifact in turns with the other precisions of its format in its folder.

    Artifacts of other checkpoints are not compared. The result leaves out INT8 artifacts that
    failed their check, that cannot run on this machine, or that have nothing to be compared with.
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
    with ExitStack() as stack:
        for precision, path in paths.items():
            if not path.exists():
                continue
            try:
                runtime = open_model(path, RuntimeOptions(line.runtime, threads=threads))
            except RuntimeUnavailableError:
                return None
            opened[precision] = stack.enter_context(runtime)
        checkpoint = opened["int8"].spec.metadata.checkpoint_sha256
        comparable = {
            precision: runtime
            for precision, runtime in opened.items()
            if runtime.spec.metadata.checkpoint_sha256 == checkpoint
        }
        if len(comparable) < 2:
            return None
        timings = bench(list(comparable.values()), config)
    spec = comparable["int8"].spec
    return Int8Advice(
        exported.format,
        f"{spec.runtime} {spec.version}, {spec.provider}",
        {name: timing.p50 for name, timing in zip(comparable, timings, strict=True)},
        {name: size_artifact(paths[name]) for name in comparable},
    )
