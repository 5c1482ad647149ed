"""Core ML packages: their signature, metadata, precision, and the program in the file.

Core ML itself runs on Apple's systems alone. Here, the program that was read back from the file is
computed with PyTorch, operation by operation.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet.artifact import PACKAGE_FILES, Metadata, artifact_files, sha256_artifact
from halnet.errors import ConfigError, RuntimeUnavailableError
from halnet.export.config import Target
from halnet.runtimes.backends import describe, open_runtime
from halnet.runtimes.fake import FakeRuntime

ct = pytest.importorskip("coremltools")
torch = pytest.importorskip("torch")

METADATA = Metadata(FakeRuntime().spec.metadata.calibration, reference_mae={"val": 20.0})


def _numbers(values: Any) -> list[int]:
    return [int(value) for value in values]


def _convolve(inputs: dict[str, Any]) -> Any:
    padding = _numbers(inputs["pad"]) if inputs["pad_type"] == "custom" else [0, 0, 0, 0]
    assert padding[::2] == padding[1::2], "the same on both sides"
    return torch.nn.functional.conv2d(
        *(inputs["x"], inputs["weight"], inputs.get("bias")),
        stride=_numbers(inputs["strides"]),
        padding=padding[::2],
        dilation=_numbers(inputs["dilations"]),
        groups=int(inputs["groups"]),
    )


# How an operation of Core ML is computed, from its inputs by their names.
OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "const": lambda i: i["val"],
    "cast": lambda i: i["x"].to({"fp16": torch.float16, "fp32": torch.float32}[i["dtype"]]),
    "add": lambda i: i["x"] + i["y"],
    "sub": lambda i: i["x"] - i["y"],
    "mul": lambda i: i["x"] * i["y"],
    "pow": lambda i: i["x"] ** i["y"],
    "sqrt": lambda i: i["x"].sqrt(),
    "relu": lambda i: i["x"].relu(),
    "sigmoid": lambda i: i["x"].sigmoid(),
    "sigmoid_hard": lambda i: (i["alpha"] * i["x"] + i["beta"]).clamp(0, 1),
    "thresholded_relu": lambda i: torch.where(i["x"] >= i["alpha"], i["x"], 0 * i["x"]),
    "softmax": lambda i: i["x"].softmax(int(i["axis"])),
    "linear": lambda i: torch.nn.functional.linear(i["x"], i["weight"], i["bias"]),
    "reduce_sum": lambda i: i["x"].sum(_numbers(i["axes"]), keepdim=bool(i["keep_dims"])),
    "expand_dims": lambda i: i["x"][:, None],
    "reshape": lambda i: i["x"].reshape(_numbers(i["shape"])),
    "avg_pool": lambda i: torch.nn.functional.avg_pool2d(
        i["x"], _numbers(i["kernel_sizes"]), _numbers(i["strides"])
    ),
    "conv": _convolve,
}


def read_program(package: Path) -> Any:
    """Return the main function of a package, as it was read from its files."""
    from coremltools.converters.mil.frontend.milproto.load import load

    model = ct.models.MLModel(str(package), skip_model_load=True)
    spec = model.get_spec()
    return load(spec, spec.specificationVersion, model.weights_dir).functions["main"]


def compute(function: Any, crop: np.ndarray) -> dict[str, Any]:
    """Return the outputs of a function for one 224 x 224 x 3 uint8 RGB crop."""
    values: dict[Any, Any] = {"image": torch.from_numpy(crop).permute(2, 0, 1)[None].float()}

    def look_up(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [look_up(part) for part in value]
        known = values.get(value.name, value.val)
        is_array = isinstance(known, np.ndarray | np.generic) and not isinstance(known, np.str_)
        return torch.as_tensor(np.array(known)) if is_array else known

    for operation in function.operations:
        if operation.op_type != "const":
            inputs = {name: look_up(value) for name, value in operation.inputs.items()}
            values[operation.outputs[0].name] = OPERATIONS[operation.op_type](inputs)
    return {value.name: values[value.name] for value in function.outputs}


@pytest.fixture(scope="module")
def network() -> Any:
    """A small AgeNet with attention and a skip, whose ages differ, and do not fit FP16."""
    from halnet.network.model import AgeNet

    torch.manual_seed(1)
    model = AgeNet()
    nn = torch.nn
    layers = (nn.Conv2d(3, 8, 16, 16, padding=1), nn.Hardswish(), nn.AvgPool2d(14), nn.Flatten())
    model.network = nn.Sequential(*layers, nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 101))
    with torch.no_grad():
        model.network[6].weight.mul_(20)
    return model.eval()


@pytest.fixture(scope="module")
def packages(network: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from halnet.export.graph import round_to_half
    from halnet.export.to_coreml import trace, write_coreml

    folder = tmp_path_factory.mktemp("coreml")
    made = {}
    for precision, model in (("fp32", network), ("fp16", round_to_half(network))):
        made[precision] = folder / f"halnet.{precision}.mlpackage"
        metadata = replace(METADATA, precision=precision)
        write_coreml(trace(model, precision), metadata, made[precision], Target())
    return made


def test_a_package_takes_an_image_and_returns_float32(packages: dict[str, Path]) -> None:
    for precision, package in packages.items():
        assert [str(file.relative_to(package)) for file in artifact_files(package)] == [
            *PACKAGE_FILES
        ]
        found = {file.relative_to(package) for file in package.rglob("*") if file.is_file()}
        assert found == {Path(name) for name in PACKAGE_FILES}
        (package.parent / "usual").touch()
        usual = (package.parent / "usual").stat().st_mode
        assert {file.stat().st_mode for file in artifact_files(package)} == {usual}
        spec = ct.models.MLModel(str(package), skip_model_load=True).get_spec()
        (image,) = spec.description.input
        assert image.name == "image"
        assert (image.type.imageType.width, image.type.imageType.height) == (224, 224)
        assert image.type.imageType.colorSpace == image.type.imageType.RGB
        outputs = {out.name: out.type.multiArrayType for out in spec.description.output}
        assert list(outputs) == ["age", "stddev", "probabilities"]
        float32 = ct.proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT32
        assert {out.dataType for out in outputs.values()} == {float32}
        assert list(outputs["probabilities"].shape) == [1, 101]
        stated = dict(spec.description.metadata.userDefined)
        assert Metadata.from_properties(stated, package) == replace(METADATA, precision=precision)
    assert sha256_artifact(packages["fp32"]) != sha256_artifact(packages["fp16"])


def test_the_program_in_the_file_gives_the_ages_of_the_network(
    network: Any, packages: dict[str, Path], crops: np.ndarray
) -> None:
    with torch.no_grad():
        expected = [value.numpy() for value in network(torch.from_numpy(crops))]
    assert np.ptp(expected[0]) > 1
    for precision, tolerance in (("fp32", 1e-3), ("fp16", 0.2)):
        program = read_program(packages[precision])
        for index, crop in enumerate(crops):
            found = compute(program, crop)
            for name, values in zip(("age", "stddev", "probabilities"), expected, strict=True):
                assert found[name].dtype == torch.float32
                np.testing.assert_allclose(found[name][0], values[index], atol=tolerance)


def test_only_the_layers_compute_in_half_precision(packages: dict[str, Path]) -> None:
    operations = [op for op in read_program(packages["fp16"]).operations if op.op_type != "const"]
    kinds = [(op.op_type, op.outputs[0].dtype.__name__) for op in operations]
    halves = [name for name, kind in kinds if kind == "fp16"]
    assert kinds[:2] == [("sub", "fp32"), ("mul", "fp32")]  # the normalisation
    assert halves[:2] == ["cast", "conv"]
    assert halves[-1] == "linear"
    last = max(index for index, (_, kind) in enumerate(kinds) if kind == "fp16")
    assert [name for name, _ in kinds[last + 1 : last + 3]] == ["cast", "softmax"]
    exact = [op for op in read_program(packages["fp32"]).operations if op.op_type != "const"]
    assert all(op.outputs[0].dtype.__name__ != "fp16" for op in exact)
    sizes = [sum(f.stat().st_size for f in artifact_files(packages[p])) for p in packages]
    assert sizes[1] < sizes[0]


def test_what_cannot_be_done_with_core_ml(network: Any, packages: dict[str, Path]) -> None:
    from halnet.export.to_coreml import trace

    with pytest.raises(ConfigError, match="--batch 2: expected 1 for --format coreml"):
        trace(network, batch=2)
    for opened in (open_runtime, describe):
        with pytest.raises(RuntimeUnavailableError, match="run on Apple's systems alone"):
            opened(packages["fp32"])


def test_the_converter_prints_nothing(network: Any, capfd: pytest.CaptureFixture[str]) -> None:
    from halnet.export.to_coreml import trace

    trace(network)
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
