"""The roof as a section: its values, and models that have none."""

import json
from pathlib import Path

import pytest

from halnet.benchmarks.bench import roof_section
from halnet.benchmarks.bench.roof_section import measure_roof
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.roof.peaks import Peak, Peaks
from halnet.benchmarks.roof.rows import RoofRow
from halnet.errors import RuntimeUnavailableError
from halnet.reporting.json_values import from_values, to_values
from halnet.reporting.sections import Section
from halnet.runtimes.base import RuntimeOptions

PEAKS = Peaks(
    2,
    {"fp32": Peak("FP32", 100e9, "a"), "int8": Peak("INT8", None, "no instructions")},
    Peak("read", 10e9, "c"),
    Peak("copy", 5e9, "d"),
)
CPU = RuntimeOptions("openvino", threads=2)


def row(name: str, measured: float, by_operations: float | None) -> RoofRow:
    return RoofRow(name, 1, 2, {"fp32": 250_000_000}, 10_000, by_operations, 1.0, 3.0, measured)


def test_each_model_has_its_distance_and_what_has_none_is_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = {"a": row("?", 8.0, 2.0), "fast": row("fast", 1.0, 2.0), "int8": row("?", 4.0, None)}

    def measure(
        models: list[Path], options: RuntimeOptions, peaks: Peaks, batch: int, runs: int
    ) -> list[RoofRow]:
        assert (options, peaks, batch) == (CPU, PEAKS, 1)
        if models[0].name == "torch":
            raise RuntimeUnavailableError("install onnx")
        return [rows[models[0].name]]

    monkeypatch.setattr(roof_section, "measure_peaks", {2: PEAKS}.__getitem__)
    monkeypatch.setattr(roof_section, "measure_rows", measure)
    names = ("a", "fast", "int8", "torch", "gpu")
    models = [TimedModel(name, Path(name), CPU, name != "gpu") for name in names]
    section = measure_roof(models, 2)
    distances, peaks = section.tables
    assert distances.rows == (
        ("a", 1, 250.0, 2.0, 1.0, 3.0, 8.0, 4.0),
        ("fast", 1, 250.0, 2.0, 1.0, 3.0, 1.0, 0.5),
        ("int8", 1, 250.0, None, 1.0, 3.0, 4.0, None),
    )
    assert peaks.rows == (
        ("FP32", 100.0, "operations", "a"),
        ("INT8", None, "operations", "no instructions"),
        ("read", 10.0, "bytes", "c"),
        ("copy", 5.0, "bytes", "d"),
    )
    assert section.text[2:] == (
        "torch is left out: install onnx.",
        "gpu is left out: the peaks are those of the processor.",
    )
    (warning,) = section.warnings
    assert warning.startswith("fast takes less than the least time")
    (figure,) = section.figures
    assert figure.categories == ("a", "fast")
    assert [series.values for series in figure.series] == [(2.0, 2.0), (8.0, 1.0)]
    assert from_values(Section, json.loads(json.dumps(to_values(section)))) == section
    alone = measure_roof(models[3:], 2)
    assert (alone.tables, alone.figures) == ((peaks,), ())
