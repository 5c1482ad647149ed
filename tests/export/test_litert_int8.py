"""INT8 in LiteRT: the forms, the layers that are kept, the budget and the artifact."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet.artifact import Metadata
from halnet.calibration.budget import Budget
from halnet.calibration.crops import CalibrationCrops
from halnet.errors import ArtifactError, ConfigError
from halnet.export import ExportConfig, Int8Config
from halnet.export.config import Target
from halnet.export.litert_forms import FORMS
from halnet.export.samples import Int8Samples
from halnet.runtimes.backends import describe, open_runtime
from halnet.runtimes.base import BatchLimits
from halnet.runtimes.fake import FakeRuntime

pytest.importorskip("litert_torch")
pytest.importorskip("ai_edge_quantizer")

METADATA = Metadata(FakeRuntime().spec.metadata.calibration, precision="int8", weight_bits=8)


@pytest.fixture(scope="module")
def proto(litert_network: Any) -> Any:
    pytest.importorskip("onnxscript")
    from halnet.export.to_onnx import trace

    return trace(litert_network)


@pytest.fixture(scope="module")
def many_crops() -> np.ndarray:
    small = np.random.default_rng(0).integers(0, 256, (24, 7, 7, 3), np.uint8)
    return np.repeat(np.repeat(small, 32, axis=1), 32, axis=2)


@pytest.fixture(scope="module")
def quantizer(litert_network: Any, proto: Any, many_crops: np.ndarray) -> Any:
    from halnet.export.litert_quantizer import LiteRTQuantizer
    from halnet.export.to_litert import trace

    return LiteRTQuantizer(trace(litert_network), proto, many_crops)


@pytest.fixture(scope="module")
def shift(proto: Any, many_crops: np.ndarray) -> Callable[[bytes], float]:
    """A function that returns the mean age shift of a model, in years."""
    from halnet.calibration.age_shift_meter import AgeShiftMeter
    from halnet.export.to_litert import open_age_function

    meter = AgeShiftMeter(proto, many_crops, opener=open_age_function)
    return lambda data: meter(data).mean


def tensor_types(data: bytes) -> set[str]:
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_content=data).get_tensor_details()
    return {np.dtype(entry["dtype"]).name for entry in details}


LAYERS = ["0", "2", "4", "6", "9"]


def test_layers_have_the_names_of_the_onnx_graph(quantizer: Any) -> None:
    assert [layer.name for layer in quantizer.layers] == LAYERS
    assert [o.layer for o in quantizer._operations if o.layer] == LAYERS


@pytest.mark.parametrize("form", list(FORMS))
def test_each_form_has_its_integers_and_nearly_the_same_ages(
    form: str,
    quantizer: Any,
    shift: Callable[[bytes], float],
    many_crops: np.ndarray,
    tmp_path: Path,
) -> None:
    from halnet.export.to_litert import write_litert

    data = quantizer.quantize(form)
    types = tensor_types(data)
    assert "int8" in types
    assert ("int16" in types) == (form == "w8a16")
    path = tmp_path / "halnet.int8.tflite"
    write_litert(data, METADATA, path, Target())
    assert describe(path).batch_limits == BatchLimits(), "as the FP32 model"
    with open_runtime(path) as runtime:
        found = runtime.run(many_crops[:3])
    assert found.age.shape == (3,)
    assert 1e-4 < shift(data) < 3


def test_activations_of_16_bits_shift_ages_less_than_those_of_8(
    quantizer: Any, shift: Callable[[bytes], float]
) -> None:
    """Weights have a range for each channel in every form."""
    weights, short, long = (shift(quantizer.quantize(form)) for form in ("w8", "w8a8", "w8a16"))
    assert long < short
    assert long == pytest.approx(weights, rel=0.5)


@pytest.mark.parametrize("form", list(FORMS))
def test_a_model_of_which_every_layer_is_kept_has_the_same_ages(
    form: str, quantizer: Any, shift: Callable[[bytes], float]
) -> None:
    assert shift(quantizer.quantize(form, frozenset(LAYERS))) < 1e-4


def test_what_follows_a_kept_layer_stays_in_floating_point(quantizer: Any) -> None:
    kinds = [operation.kind for operation in quantizer._quantized({"0", "4"})]
    layers = [operation.layer for operation in quantizer._quantized({"0", "4"})]
    assert [name for name in layers if name] == ["2", "6"]
    assert "HARD_SWISH" not in kinds, "both follow a layer that is kept"


def test_an_unknown_layer_is_refused(quantizer: Any) -> None:
    with pytest.raises(ConfigError, match="--keep-float: no layer is named features"):
        quantizer.quantize("w8", frozenset({"features"}))


def test_weights_of_another_network_are_refused(quantizer: Any, tiny_graph: Any) -> None:
    from halnet.export.litert_quantizer import _find_operations

    with pytest.raises(ArtifactError, match="expected the layers of the ONNX graph in the LiteRT"):
        _find_operations(quantizer._data, tiny_graph)


def open_int8(
    network: Any, proto: Any, crops: np.ndarray, config: Int8Config, lines: list[str]
) -> Any:
    from halnet.export.int8_source import Int8Source
    from halnet.export.litert_int8 import open_int8

    samples = Int8Samples(CalibrationCrops(crops, {"data": "noise"}), None)
    return open_int8(Int8Source(network, proto, False, samples), config, lines.append)


def test_the_fastest_form_within_the_budget_is_taken(
    litert_network: Any,
    proto: Any,
    many_crops: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    int8 = open_int8(litert_network, proto, many_crops, Int8Config(budget=Budget(p99=50)), lines)
    measure = type(int8._open_meter()).__call__
    times = {"w8": 3.0, "w8a8": 1.0, "w8a16": 2.0}  # milliseconds
    turns = iter(FORMS)

    def timed(self: Any, data: bytes, timed: bool = False) -> Any:
        del timed
        return replace(measure(self, data), milliseconds=times[next(turns, "w8")])

    monkeypatch.setattr("halnet.calibration.age_shift_meter.AgeShiftMeter.__call__", timed)
    data, entry = int8.quantize("", "litert", tmp_path)
    assert (entry["scheme"], entry["kept"], entry["weight_bits"]) == ("w8a8", [], 8)
    assert list(entry["forms"]) == list(FORMS)
    assert tensor_types(data) >= {"int8", "float32"}
    assert any("8-bit weights and activations, 0 layers kept" in line for line in lines)

    # The fastest form exceeds this budget, unless its first layers are kept.
    nothing, most = (int8._measure("w8", tuple(LAYERS[:count])).p99_bound for count in (0, 3))
    assert most < 0.7 * nothing
    budget = Budget(p99=(nothing + most) / 2)
    times["w8"] = 0.5
    turns = iter(FORMS)
    tight = open_int8(litert_network, proto, many_crops, Int8Config(budget=budget), lines)
    _, entry = tight.quantize("", "litert", tmp_path)
    assert (entry["scheme"], entry["judged_in"]) == ("w8", "litert")
    kept = entry["kept"]
    assert kept, "with all layers in integers, it exceeds the budget"
    assert kept == LAYERS[: len(kept)], "from the input on"
    assert min(s["p99_bound"] for s in entry["steps"] if s["kept"] == len(kept)) <= budget.p99


def test_a_form_can_be_asked_for(
    litert_network: Any, proto: Any, many_crops: np.ndarray, tmp_path: Path
) -> None:
    config = Int8Config(form="w8a8", keep=("0",))
    data, entry = open_int8(litert_network, proto, many_crops, config, []).quantize(
        "", "litert", tmp_path
    )
    assert (entry["scheme"], entry["kept"], list(entry["forms"])) == ("w8a8", ["0"], ["w8a8"])
    assert "int8" in tensor_types(data)
    with pytest.raises(ConfigError, match="--litert-form w4: expected one of w8, w8a8, w8a16"):
        Int8Config(form="w4")


def test_a_budget_that_no_form_meets_is_one_line_with_the_figures(
    litert_network: Any, proto: Any, many_crops: np.ndarray, tmp_path: Path
) -> None:
    int8 = open_int8(litert_network, proto, many_crops, Int8Config(budget=Budget(p99=1e-7)), [])
    with pytest.raises(ArtifactError, match="no INT8 model of LiteRT meets the budget") as raised:
        int8.quantize("", "litert", tmp_path)
    message = str(raised.value)
    assert "\n" not in message
    for form in FORMS.values():
        assert f"{form.words}: " in message
    assert "years with all layers in integers and" in message
    assert "deploy --precision fp16" in message


@pytest.mark.parametrize("options", [{"sensitivity": True}, {"method": "entropy"}])
def test_options_of_the_other_formats_are_refused(options: dict[str, Any]) -> None:
    message = "--sensitivity and --calibration-method: expected another format than litert"
    with pytest.raises(ConfigError, match=message):
        ExportConfig(formats=("litert",), precisions=("int8",), int8=Int8Config(**options))
