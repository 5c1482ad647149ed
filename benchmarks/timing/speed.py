"""Speed: times runtimes side by side on the same crops, in turns."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from halnet.artifact import label_model
from halnet.benchmarks.bench.model_errors import ModelErrors
from halnet.benchmarks.samples import sample_crops
from halnet.benchmarks.timing.spread import is_wide, median_interval
from halnet.benchmarks.timing.start_up import StartUp
from halnet.benchmarks.timing.warm_up import WarmUp, warm_up
from halnet.errors import ConfigError
from halnet.reporting.json_values import to_values
from halnet.runtimes.base import BatchLimits, Crops, Runtime
from halnet.runtimes.device_clock import DeviceTimes

TURNS = 20  # of each runtime, if there are as many runs
SECONDS = 3.0  # that `halnet bench` times each model at least


@dataclass(frozen=True)
class BenchConfig:
    """How runtimes are timed."""

    batch: int = 1  # crops in each run
    runs: int = 100  # least number of timed runs of each runtime
    warmup: int = 20  # least number of runs of each runtime before the timed ones; 0: none at all
    seconds: float = 0.0  # least time that the timed runs of each runtime take together

    def __post_init__(self) -> None:
        for name in ("batch", "runs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, found {getattr(self, name)}")
        for name in ("warmup", "seconds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}: expected at least 0, found {getattr(self, name)}")

    @property
    def turns(self) -> int:
        """How many turns each runtime has."""
        return min(TURNS, self.runs)


@dataclass(frozen=True)
class Timing:
    """Times of one runtime, from crops in memory to ages in memory. No run is left out."""

    runtime: str
    version: str
    provider: str
    threads: int  # as the library states it; 0 on a GPU
    precision: str
    model: str  # its path, or the file name of a bundled model
    checkpoint: str  # SHA-256 of the checkpoint that it was made from
    mode: str  # "latency" or "throughput"
    batch: int  # crops in each run
    computed: int  # crops that the model computes in each run; see `count_computed`
    runs: int  # timed runs
    warm_up: WarmUp
    p50: float  # milliseconds for a run
    p90: float
    p99: float
    mean: float
    variation: float  # coefficient of variation: standard deviation as a share of the mean
    frames_per_second: float  # crops in a second, over all timed runs
    turns: tuple[float, ...]  # median of each turn, in milliseconds
    # Medians by the clock of a GPU, with transfers and without, in ms; None on other devices.
    device: DeviceTimes | None = None
    start_up: StartUp | None = None  # None: not measured
    errors: tuple[ModelErrors, ...] = ()  # those of all photos first; empty: not measured

    @property
    def name(self) -> str:
        """The model with its whole path, and what runs it."""
        return f"{self.model} on {self.runtime}"

    @property
    def note(self) -> str:
        """A sentence about batches that are filled up, or an empty text."""
        if self.computed == self.batch:
            return ""
        return (
            f"{self.model} on {self.runtime} computes {self.computed} crops in each run: it takes "
            f"a fixed number, so the batch of {self.batch} is filled up with copies"
        )

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """The 95 % interval of the median, in milliseconds; None with too few turns."""
        return median_interval(self.turns)

    @property
    def is_unsteady(self) -> bool:
        """Whether the median is too uncertain to be compared with anything."""
        return is_wide(self.p50, *self.interval)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return to_values(self)


def name_timings(timings: Sequence[Timing]) -> list[str]:
    """Return a name for each timing: the end of the model's path and what runs it.

    Where models have the same name, it is the whole path.
    """
    short = [f"{PurePath(timing.model).name} on {timing.runtime}" for timing in timings]
    return [
        name if short.count(name) == 1 else timing.name
        for name, timing in zip(short, timings, strict=True)
    ]


def bench(
    runtimes: Sequence[Runtime],
    config: BenchConfig,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time runtimes in turns, so that a slow phase of the machine slows them all.

    Each runtime is warmed up until its times are stable, and then has `config.turns` turns. A turn
    takes its share of the runs and of the seconds of `config`, whichever is longer. Its first run
    is not timed, because the runtime before it has filled the caches and left threads that still
    wait for work. All other runs count. `clock` returns seconds. Raises ConfigError for no
    runtimes.
    """
    if not runtimes:
        raise ConfigError("bench: expected at least one runtime, found none")
    samples = sample_crops()
    crops = np.resize(samples, (config.batch, *samples.shape[1:]))
    courses = [_Course(runtime, crops, config, clock) for runtime in runtimes]
    for _ in range(config.turns):
        for course in courses:
            course.take_turn()
    return [course.timing() for course in courses]


class _Course:
    """The runs of one runtime: its warm-up, and the times of each turn in seconds."""

    def __init__(
        self, runtime: Runtime, crops: Crops, config: BenchConfig, clock: Callable[[], float]
    ) -> None:
        self._runtime, self._crops, self._config, self._clock = runtime, crops, config, clock
        self._turns: list[list[float]] = []
        self._device: list[DeviceTimes] = []
        self._warm_up = warm_up(self._run, config.warmup, clock)

    def _run(self) -> None:
        self._runtime.run(self._crops)

    def take_turn(self) -> None:
        """Run once without the clock, then with it, then with the clock of the device."""
        config, clock = self._config, self._clock
        runs, seconds = math.ceil(config.runs / config.turns), config.seconds / config.turns
        times: list[float] = []
        self._run()
        while len(times) < runs or sum(times) < seconds:
            start = clock()
            self._run()
            times.append(clock() - start)
        self._turns.append(times)
        measured = self._runtime.time_on_device(self._crops)
        if measured is not None:
            self._device.append(measured)

    def timing(self) -> Timing:
        """Return the statistics of all turns."""
        spec, batch = self._runtime.spec, self._config.batch
        milliseconds = 1000 * np.concatenate([np.asarray(turn) for turn in self._turns])
        p50, p90, p99 = (float(p) for p in np.percentile(milliseconds, [50, 90, 99]))
        mean = float(milliseconds.mean())
        return Timing(
            runtime=spec.runtime,
            version=spec.version,
            provider=spec.provider,
            threads=spec.threads,
            precision=spec.metadata.precision,
            model=label_model(spec.model),
            checkpoint=spec.metadata.checkpoint_sha256,
            mode=spec.mode,
            batch=batch,
            computed=count_computed(spec.batch_limits, batch),
            runs=len(milliseconds),
            warm_up=self._warm_up,
            p50=p50,
            p90=p90,
            p99=p99,
            mean=mean,
            variation=float(milliseconds.std()) / mean if mean else 0.0,
            frames_per_second=1000 * batch / mean if mean else 0.0,
            turns=tuple(1000 * float(np.median(turn)) for turn in self._turns),
            device=_medians(self._device),
        )


def _medians(found: Sequence[DeviceTimes]) -> DeviceTimes | None:
    if not found:
        return None
    return DeviceTimes(
        compute=float(np.median([times.compute for times in found])),
        total=float(np.median([times.total for times in found])),
    )


def count_computed(limits: BatchLimits, batch: int) -> int:
    """Return how many crops a model computes for `batch` crops.

    A model with a maximum divides them into several inferences, and one with a minimum fills an
    inference up with copies.
    """
    maximum = limits.maximum or batch
    parts = (min(maximum, batch - start) for start in range(0, batch, maximum))
    return sum(max(limits.minimum, part) for part in parts)
