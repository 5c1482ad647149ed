"""Speed: times runtimes side by side on the same crops, in turns."""

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import label_model
from halnet.benchmarks.samples import sample_crops
from halnet.errors import ConfigError
from halnet.runtimes.base import BatchLimits, Runtime

TURN = 10  # timed runs of a runtime before the next one has its turn
CPU_INFO = Path("/proc/cpuinfo")
# Instructions for fast integers: name, and its flags in /proc/cpuinfo of x86 and Arm.
FEATURES = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "AMX": {"amx_int8"},
    "dot product": {"asimddp"},
    "I8MM": {"i8mm"},
}


@dataclass(frozen=True)
class BenchConfig:
    """How runtimes are timed."""

    batch: int = 1  # crops in each run
    runs: int = 200  # timed runs of each runtime
    warmup: int = 20  # runs of each runtime before the timed ones

    def __post_init__(self) -> None:
        for name in ("batch", "runs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, found {getattr(self, name)}")


@dataclass(frozen=True)
class Timing:
    """Times of one runtime, from crops in memory to ages in memory."""

    runtime: str
    version: str
    provider: str
    threads: int
    precision: str
    model: str  # its path, or the file name of a bundled model
    batch: int  # crops in each run
    computed: int  # crops that the model computes in each run; see `count_computed`
    runs: int  # timed runs
    p50: float  # milliseconds for a run
    p90: float
    p99: float
    frames_per_second: float  # crops in a second, over all timed runs

    @property
    def note(self) -> str:
        """A sentence about batches that are filled up, or an empty text."""
        if self.computed == self.batch:
            return ""
        return (
            f"{self.model} on {self.runtime} computes {self.computed} crops in each run: it takes "
            f"a fixed number, so the batch of {self.batch} is filled up with copies"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def bench(runtimes: Sequence[Runtime], config: BenchConfig) -> list[Timing]:
    """Time runtimes in turns of `TURN` runs, so that a slow phase of the machine slows them all.

    The first run of each turn is not timed, because the runtime before it has filled the caches and
    left threads that still wait for work. All other runs count. Raises ConfigError for no runtimes.
    """
    if not runtimes:
        raise ConfigError("bench: expected at least one runtime, found none")
    samples = sample_crops()
    crops = np.resize(samples, (config.batch, *samples.shape[1:]))
    for runtime in runtimes:
        for _ in range(config.warmup):
            runtime.run(crops)
    times: list[list[float]] = [[] for _ in runtimes]
    while len(times[-1]) < config.runs:
        for runtime, seconds in zip(runtimes, times, strict=True):
            runtime.run(crops)
            for _ in range(min(TURN, config.runs - len(seconds))):
                start = time.perf_counter()
                runtime.run(crops)
                seconds.append(time.perf_counter() - start)
    return [
        _to_timing(runtime, np.array(seconds), config)
        for runtime, seconds in zip(runtimes, times, strict=True)
    ]


def count_computed(limits: BatchLimits, batch: int) -> int:
    """Return how many crops a model computes for `batch` crops.

    A model with a maximum divides them into several inferences, and one with a minimum fills an
    inference up with copies.
    """
    maximum = limits.maximum or batch
    parts = (min(maximum, batch - start) for start in range(0, batch, maximum))
    return sum(max(limits.minimum, part) for part in parts)


def _to_timing(runtime: Runtime, seconds: Any, config: BenchConfig) -> Timing:
    spec = runtime.spec
    p50, p90, p99 = (float(p) * 1000 for p in np.percentile(seconds, [50, 90, 99]))
    return Timing(
        runtime=spec.runtime,
        version=spec.version,
        provider=spec.provider,
        threads=spec.threads,
        precision=spec.metadata.precision,
        model=label_model(spec.model),
        batch=config.batch,
        computed=count_computed(spec.batch_limits, config.batch),
        runs=len(seconds),
        p50=p50,
        p90=p90,
        p99=p99,
        frames_per_second=config.batch * len(seconds) / float(seconds.sum()),
    )


def machine() -> str:
    """Return the processor's name and its instructions for fast integers."""
    return ", ".join([cpu_name(), *cpu_features()])


def cpu_features() -> list[str]:
    """Return the processor's instructions for fast integers, as names in `FEATURES`."""
    lines = _read_cpu_info().splitlines()
    stated = [line for line in lines if line.startswith(("flags", "Features"))]
    flags = {flag for line in stated for flag in line.split(":", 1)[1].split()}
    return [name for name, known in FEATURES.items() if known & flags]


def cpu_name() -> str:
    """Return the processor's name as the operating system states it."""
    for line in _read_cpu_info().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _read_cpu_info() -> str:
    """Return the text of `CPU_INFO`, or an empty text where this system has no such file."""
    try:
        return CPU_INFO.read_text(encoding="utf-8")
    except OSError:
        return ""
