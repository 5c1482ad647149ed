"""Reports of benchmarks with given numbers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from halnet.benchmarks.bench.report import BenchReport
from halnet.benchmarks.machine import Conditions, Machine
from halnet.benchmarks.timing.speed import BenchConfig, Timing
from halnet.benchmarks.timing.warm_up import WarmUp
from halnet.cores import Cores

MACHINE = Machine(
    "A CPU",
    ("AVX2", "VNNI"),
    Cores(2, 4, "the CPU affinity"),
    8000,
    "Linux 6, x86_64",
    {"python": "3.11.7", "halnet": "0.1.0", "onnxruntime": "1.32.0"},
)
TIMING = Timing(
    runtime="onnxruntime",
    version="1.32.0",
    provider="CPUExecutionProvider",
    threads=2,
    precision="fp32",
    model="deploy/halnet.onnx",
    checkpoint="ab" * 32,
    mode="latency",
    batch=1,
    computed=1,
    runs=200,
    warm_up=WarmUp(20, True),
    p50=4.0,
    p90=4.5,
    p99=6.0,
    mean=4.1,
    variation=0.1,
    frames_per_second=244.0,
    turns=(4.0,) * 20,
)


@pytest.fixture
def make_timing() -> Callable[..., Timing]:
    """A function that returns a timing. `ms` is the time of every turn; others are its fields."""

    def make(ms: float = 4.0, **changes: Any) -> Timing:
        return replace(TIMING, **{"p50": ms, "turns": (ms,) * 20, **changes})

    return make


@pytest.fixture
def make_report() -> Callable[..., BenchReport]:
    """A function that returns a report of timings, with other fields if they are given."""

    def make(*timings: Timing, **changes: Any) -> BenchReport:
        report = BenchReport(
            "2026-11-26T12:00:00+00:00",
            MACHINE,
            Conditions(0.1, 2500.0),
            Conditions(1.5, None),
            BenchConfig(),
            None,
            timings or (TIMING,),
        )
        return replace(report, **changes)

    return make
