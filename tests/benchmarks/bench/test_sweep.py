"""The sweep: every number of threads and batch size, and the section."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from halnet.benchmarks.bench import sweep as module
from halnet.benchmarks.bench.sweep import (
    BATCHES,
    SECONDS,
    measure_sweep,
    sweep,
    sweep_section,
    thread_counts,
)
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.timing.speed import BenchConfig, Timing
from halnet.cores import Cores
from halnet.reporting.json_values import from_values, to_values
from halnet.reporting.sections import Section
from halnet.runtimes.base import Runtime, RuntimeOptions
from halnet.runtimes.fake import FakeRuntime

MODELS = [
    TimedModel("a", Path("a"), RuntimeOptions("fake", threads=7), True),
    TimedModel("gpu", Path("g"), RuntimeOptions("fake"), False),
]


@pytest.fixture(autouse=True)
def _rates(monkeypatch: pytest.MonkeyPatch, make_timing: Callable[..., Timing]) -> None:
    """Speeds of 100 times the threads plus the batch size."""

    def rate(runtimes: Sequence[Runtime], config: BenchConfig) -> list[Timing]:
        assert config.seconds == SECONDS
        return [
            make_timing(
                1000 * config.batch / (100 * runtime.spec.threads + config.batch),
                batch=config.batch,
            )
            for runtime in runtimes
        ]

    monkeypatch.setattr(module, "open_model", FakeRuntime)
    monkeypatch.setattr(module, "bench", rate)


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])]
)
def test_threads_double_up_to_the_usable_cores(cores: int, counts: list[int]) -> None:
    assert thread_counts(cores) == counts


def test_each_number_of_threads_has_a_row_and_a_gpu_has_one() -> None:
    rows = sweep(MODELS, [1, 2])
    assert [(row.model, row.threads) for row in rows] == [("a", 1), ("a", 2), ("gpu", None)]
    for row, threads in zip(rows, (1, 2, 2), strict=True):
        assert row.rates == pytest.approx(tuple(100 * threads + batch for batch in BATCHES))
    assert sweep(MODELS[1:], [1, 2]) == rows[2:]


def test_the_section_has_curves_and_survives_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_cores", lambda: Cores(4, 8))
    section = measure_sweep(MODELS, 1)
    (table,) = section.tables
    for row, expected in zip(
        table.rows,
        (("a", 1, 101.0), ("a", 2, 201.0), ("a", 4, 401.0), ("gpu", None, 401.0)),
        strict=True,
    ):
        assert row[:3] == pytest.approx(expected)
    by_batch, by_threads = section.figures
    assert [(series.name, series.x) for series in by_batch.series] == [
        *(("a", BATCHES), ("gpu", BATCHES)),
    ]
    assert by_batch.series[0].values[-1] == pytest.approx(432)
    (scaling,) = by_threads.series
    assert scaling.x == (1, 2, 4)
    assert scaling.values == pytest.approx((101, 201, 401))
    assert from_values(Section, json.loads(json.dumps(to_values(section)))) == section
    assert len(sweep_section(sweep(MODELS[1:], [1])).figures) == 1, "a GPU has no threads"
