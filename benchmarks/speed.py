"""Speed: runtimes timed side by side on the same crops, in turns."""

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from halnet.benchmarks.samples import sample_crops
from halnet.errors import ConfigError
from halnet.runtimes.base import Runtime

BLOCK = 10  # runs in a row before the next runtime has its turn


@dataclass(frozen=True)
class BenchConfig:
    """How to time."""

    batch: int = 1  # crops a run
    runs: int = 200  # timed runs of each runtime
    warmup: int = 20  # runs before, not timed

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
    model: str  # file name
    batch: int
    runs: int
    p50: float  # milliseconds a run
    p90: float
    p99: float
    frames_per_second: float  # crops a second, over all runs

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def bench(runtimes: Sequence[Runtime], config: BenchConfig) -> list[Timing]:
    """Time runtimes in turns of `BLOCK` runs, so that a slow spell of the machine hits them all.

    The first run of each turn is not timed: it pays for the caches and idle threads that the
    runtime before it left. All others count.
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
        for runtime, taken in zip(runtimes, times, strict=True):
            runtime.run(crops)
            for _ in range(min(BLOCK, config.runs - len(taken))):
                start = time.perf_counter()
                runtime.run(crops)
                taken.append(time.perf_counter() - start)
    return [
        _timing(runtime, np.array(t), config) for runtime, t in zip(runtimes, times, strict=True)
    ]


def _timing(runtime: Runtime, seconds: Any, config: BenchConfig) -> Timing:
    spec = runtime.spec
    p50, p90, p99 = (float(p) * 1000 for p in np.percentile(seconds, [50, 90, 99]))
    return Timing(
        runtime=spec.runtime,
        version=spec.version,
        provider=spec.provider,
        threads=spec.threads,
        precision=spec.metadata.precision,
        model=Path(spec.model).name,
        batch=config.batch,
        runs=len(seconds),
        p50=p50,
        p90=p90,
        p99=p99,
        frames_per_second=config.batch * len(seconds) / float(seconds.sum()),
    )


# Flags of /proc/cpuinfo, x86 and Arm, by what they are commonly called.
FEATURES = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "AMX": {"amx_int8"},
    "dot product": {"asimddp"},
    "I8MM": {"i8mm"},
}


def machine() -> str:
    """Return the processor's name and what it has for fast integers."""
    return ", ".join([cpu_name(), *cpu_features()])


def cpu_features() -> list[str]:
    """Return what the processor has for fast integers, by the names in `FEATURES`."""
    lines = _cpu_info().splitlines()
    stated = [line for line in lines if line.startswith(("flags", "Features"))]
    flags = {flag for line in stated for flag in line.split(":", 1)[1].split()}
    return [name for name, known in FEATURES.items() if known & flags]


def cpu_name() -> str:
    """Return the processor's name as the system states it."""
    for line in _cpu_info().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
