"""The whole way: which runs count, what the stages add up to, and the section."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from halnet.artifact import bundled
from halnet.benchmarks.bench import way
from halnet.benchmarks.bench.made_photos import MadePhoto
from halnet.benchmarks.bench.stages import STAGES
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.bench.way import WayTime, measure_way, time_many, time_ways, way_section
from halnet.benchmarks.samples import portrait
from halnet.reporting.json_values import from_values, to_values
from halnet.reporting.sections import FigureKind, Section
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.fake import FakeRuntime

PHOTOS = (MadePhoto("small", 1, (3, 4), b"s" * 2000), MadePhoto("large", 2, (30, 40), b"l" * 9000))
JPEG = bundled("portrait.jpg").read_bytes()
# Milliseconds of each stage. The whole takes 10, 20, 20, 30 and 1000 ms.
RUNS = (
    (990.0, 2.0, 1.0, 6.0, 1.0),
    (1.0, 2.0, 1.0, 5.0, 1.0),
    (5.0, 4.0, 2.0, 8.0, 1.0),
    (4.0, 5.0, 1.0, 9.0, 1.0),
    (6.0, 8.0, 2.0, 12.0, 2.0),
)
# Of the 70 ms of the three runs in the middle.
SHARES = (15 / 70, 17 / 70, 5 / 70, 29 / 70, 4 / 70)
TIME = WayTime("a.onnx", "small", (3, 4), 2.0, 1, 1, RUNS)


class Timed:
    """Finds one face. Its n-th run takes n seconds for each stage; it writes its runs down."""

    def __init__(self, name: str, diary: list[str]) -> None:
        self.name, self.diary, self.count = name, diary, 0

    def time_photo(self, data: bytes) -> tuple[float, ...]:
        self.diary.append(self.name + data[:1].decode())
        self.count += 1
        return (float(self.count),) * len(STAGES)

    def __call__(self, data: bytes) -> list[str]:
        return ["face"]


def test_the_first_run_of_a_turn_does_not_count_and_models_take_turns() -> None:
    diary: list[str] = []
    predictors: Any = {name: Timed(name, diary) for name in "ab"}
    times = time_ways(predictors, PHOTOS, turns=2)
    assert diary == [pair for pair in ("as", "bs", "al", "bl") for _ in range(3)] * 2
    assert [(found.model, found.photo) for found in times] == [
        *(("a", "small"), ("b", "small"), ("a", "large"), ("b", "large"))
    ]
    # Of the runs 1 to 3, 4 to 6 and so on, the first one does not count.
    assert [run[0] for run in times[0].runs] == [2000, 3000, 8000, 9000]
    assert [run[0] for run in times[2].runs] == [5000, 6000, 11000, 12000]
    assert (times[2].faces, times[2].found, times[2].kilobytes) == (2, 1, 9.0)


def test_the_stages_add_up_to_the_whole_and_an_interrupted_run_does_not_change_them() -> None:
    assert TIME.p50 == 20
    assert TIME.p90 == pytest.approx(30 + 0.6 * 970), "all runs count"
    assert TIME.shares == pytest.approx(SHARES)
    assert sum(TIME.shares) == pytest.approx(1)
    assert TIME.stages == pytest.approx(tuple(20 * share for share in SHARES))
    assert sum(TIME.stages) == pytest.approx(TIME.p50)
    assert TIME.one_by_one == 50


def test_photos_at_the_same_time_are_counted_for_each_second() -> None:
    clock = SimpleNamespace(now=0.0, photos=0)

    def detect(view: Any) -> tuple[()]:
        clock.now += 0.125
        clock.photos += 1
        return ()

    predictor: Any = SimpleNamespace(detect=detect, predict_faces=lambda view, faces: [])
    photo = replace(PHOTOS[0], data=JPEG)
    (rate,) = time_many({"a.onnx": predictor}, [photo], [TIME], 1, lambda: clock.now)
    assert rate == 8
    # One after the other there are 50 a second, so that a turn of 1/3 s has 17.
    assert clock.photos == 3 * 17


def test_the_section_has_all_values_and_survives_json() -> None:
    times = [replace(TIME, rate=70.0), replace(TIME, model="b.onnx", photo="large", found=3)]
    section = way_section(times, 2, 4)
    latency, shares, rates, photos = section.tables
    assert latency.rows[0] == pytest.approx(("small", "a.onnx", 20, TIME.p90, *TIME.stages))
    assert shares.rows[0] == pytest.approx(("small", "a.onnx", *(100 * share for share in SHARES)))
    assert rates.rows == (("small", "a.onnx", 50.0, 70.0), ("large", "b.onnx", 50.0, None))
    assert rates.columns[-1] == "4 at the same time, photos a second"
    assert photos.rows[0] == ("small", 3, 4, 2.0, 1)
    assert section.warnings == ("b.onnx found 3 faces in the photo large, which has 1.",)
    first, second = section.figures
    assert (first.kind, first.categories, second.categories) == (
        *(FigureKind.STACKS, ("a.onnx",), ("b.onnx",)),
    )
    assert [series.name for series in first.series] == list(STAGES)
    assert sum(series.values[0] for series in first.series) == pytest.approx(20)
    assert any(text.startswith("Latency: one photo after the other, 2 th") for text in section.text)
    assert from_values(Section, json.loads(json.dumps(to_values(section)))) == section


def test_latency_has_all_threads_and_throughput_one_thread_for_each_photo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[RuntimeOptions] = []
    detectors: list[int | None] = []

    def open_fake(model: object, options: RuntimeOptions) -> FakeRuntime:
        opened.append(options)
        return FakeRuntime("fake", options)

    def detector(threads: int | None) -> Any:
        detectors.append(threads)
        return lambda image: [portrait()[1]]

    monkeypatch.setattr(way, "open_model", open_fake)
    monkeypatch.setattr(way, "open_detector", detector)
    monkeypatch.setattr(way, "make_photos", lambda: (replace(PHOTOS[0], data=JPEG),))
    monkeypatch.setattr(way, "find_cores", lambda: SimpleNamespace(usable=3))
    monkeypatch.setattr(way, "SECONDS", 0.001)
    options = RuntimeOptions("fake", threads=4)
    section = measure_way([TimedModel("a", Path("a"), options, True)], 4)
    assert opened == [options, replace(options, threads=1, calls=3)]
    assert detectors == [4, 1]
    assert section.tables[2].columns[-1].startswith("3 at the same time")
    assert section.tables[0].rows[0][2] > 0 < section.tables[2].rows[0][3]
