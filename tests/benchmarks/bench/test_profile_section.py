"""The profile as a section: its values, and models that have none."""

import json
from pathlib import Path

import pytest

from halnet.benchmarks.bench import profile_section
from halnet.benchmarks.bench.profile_section import OTHERS, WORST, measure_profile
from halnet.benchmarks.bench.timed_models import TimedModel
from halnet.benchmarks.layer_profile.times import REST, LayerProfile, NodeTime
from halnet.errors import ConfigError
from halnet.reporting.json_values import from_values, to_values
from halnet.reporting.sections import Section
from halnet.runtimes.base import RuntimeOptions

# Nodes of 1 to 12 ms, and 2 ms between them. The slowest one computes 30 billion a second.
NODES = tuple(
    NodeTime(
        f"n{ms}", "layer" if ms == 12 else "", "Conv", "f32", float(ms), 180_000_000 * (ms > 11)
    )
    for ms in range(1, 13)
)
PROFILE = LayerProfile("a.onnx", "openvino", "1", 2, 1, 10, 80.0, NODES)


def test_the_slowest_layers_are_shown_and_what_has_no_profile_is_a_note(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def profile(model: Path, runtime: str, threads: int, *numbers: int) -> LayerProfile:
        assert threads == 2
        if runtime == "pytorch":
            raise ConfigError("runtime pytorch: expected onnxruntime")
        return PROFILE

    monkeypatch.setattr(profile_section, "profile_layers", profile)
    models = [
        TimedModel(name, Path(name), RuntimeOptions(runtime), name != "gpu")
        for name, runtime in (("a", "openvino"), ("torch", "pytorch"), ("gpu", "onnxruntime"))
    ]
    section = measure_profile(models, 2)
    layers, kinds = section.tables
    assert layers.title == "Slowest layers of a"
    assert layers.rows[0] == pytest.approx(("layer", "Conv", "f32", 12.0, 15.0, 30.0))
    assert layers.rows[1] == ("n11", "Conv", "f32", 11.0, 13.75, None)
    assert layers.rows[-2:] == ((OTHERS, "", "", 3.0, 3.75, None), (REST, "", "", 2.0, 2.5, None))
    assert len(layers.rows) == WORST + 2
    assert sum(row[3] for row in layers.rows if isinstance(row[3], float)) == 80
    assert kinds.rows == (("Conv", "f32", 12, 78.0, 97.5),)
    (figure,) = section.figures
    assert figure.categories[:2] == ("layer", "n11")
    assert figure.series[0].values == tuple(range(12, 2, -1))
    assert section.text[1:] == (
        "torch is left out: runtime pytorch: expected onnxruntime.",
        "gpu is left out: only the processor is profiled.",
    )
    assert from_values(Section, json.loads(json.dumps(to_values(section)))) == section
