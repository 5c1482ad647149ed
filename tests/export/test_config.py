from pathlib import Path
from typing import Any

import pytest

from halnet.errors import ConfigError
from halnet.export import ExportConfig, Int8Config, Target


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"formats": ("onxx",)}, "format onxx: expected one of .*; did you mean onnx?"),
        ({"precisions": ("int4",)}, "precision int4: expected one of fp32, fp16"),
        ({"formats": ()}, "format: expected at least one of"),
        ({"batch": 0}, "batch: expected at least 1 or dynamic, found 0"),
        ({"target": Target((1, 2, 3))}, "--profile needs --format tensorrt"),
        ({"target": Target(capabilities=("SM86",))}, "--capability needs --format tensorrt"),
        ({"target": Target(onnxruntime_web=Path("x"))}, "--onnxruntime-web needs --format web"),
        (
            {"target": Target(detector=Path("x")), "formats": ("tensorrt",)},
            "--detector needs --format web",
        ),
        (
            {"int8": Int8Config(form="w8"), "precisions": ("int8",)},
            "--litert-form needs --format litert",
        ),
        (
            {"target": Target((1, 2, 3)), "formats": ("tensorrt",), "batch": 1},
            "--profile needs --batch dynamic",
        ),
        (
            {"formats": ("compiler",), "precisions": ("fp16",)},
            "precision fp16: expected one of fp32",
        ),
        ({"target": Target(opset=12)}, "--opset needs --format compiler"),
        ({"target": Target(input="uint8-nchw")}, "--compiler-input needs --format compiler"),
        (
            {"formats": ("compiler",), "int8": Int8Config(crops=64, weight_bits=7, keep=())},
            "options of calibration, .* need --precision int8",
        ),
        ({"int8": Int8Config(crops=64)}, "options of calibration, .* need --precision int8"),
    ],
)
def test_wrong_options_of_an_export(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExportConfig(**values)


@pytest.mark.parametrize("batches", [(0, 1, 2), (1, 5, 4), (3, 2, 4)])
def test_a_profile_must_be_in_rising_order(batches: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigError, match="expected a minimum, optimal and maximum batch size"):
        Target(batches)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"opset": 10}, "opset: expected a number from 11 to 18, found 10"),
        ({"opset": 19}, "opset: expected a number from 11 to 18, found 19"),
        ({"input": "float16"}, "compiler input: expected one of float32-nchw, .*, found float16"),
    ],
)
def test_wrong_options_for_a_compiler(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Target(**values)


def test_a_compiler_gets_crops_without_int8() -> None:
    config = ExportConfig(formats=("compiler",), int8=Int8Config(crops=64, seed=3))
    assert config.needs_crops
    assert not ExportConfig().needs_crops


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crops": 0}, "calibration photos: expected at least 1, found 0"),
        ({"detector": Path("yunet.onnx")}, "--detector needs --calibration FOLDER"),
        ({"weight_bits": 4}, "weight bits: expected 7 or 8, found 4"),
    ],
)
def test_wrong_options_of_int8(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Int8Config(**values)


def test_weights_of_8_bits_are_made_where_they_can_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halnet.processor.CPU_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags : avx2 avx512f\n")
    assert Int8Config(weight_bits=7).scheme("unsigned") == "unsigned"
    with pytest.raises(ConfigError, match=r"expected a processor with VNNI.*found AVX2, AVX-512;"):
        Int8Config(weight_bits=8)
    (tmp_path / "cpuinfo").write_text("flags : avx2 avx512f avx512_vnni\n")
    config = Int8Config(weight_bits=8)
    assert (config.scheme("unsigned"), config.scheme("symmetric")) == ("unsigned 8", "symmetric")
