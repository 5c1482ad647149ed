"""Files for vendors' compilers: their operators, opsets, inputs, ages, sidecar and crops."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from halnet.artifact import Metadata, sha256_file
from halnet.benchmarks.elsewhere import main
from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError
from halnet.export import ExportConfig, Int8Config, Target, export
from halnet.export.graph import simplify
from halnet.export.to_compiler import CompilerGraph, trace, write_compiler
from halnet.network.checkpoint import load_checkpoint
from halnet.network.model import AgeNet
from halnet.runtimes.backends import open_runtime
from halnet.runtimes.fake import FakeRuntime

COMMON = {  # operators that the tools in docs/compilers.md list as supported
    *("Add", "AveragePool", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "HardSigmoid"),
    *("HardSwish", "Mul", "Relu", "Sigmoid"),
}
NORMALISING = {"Cast", "Sub", "Div"}
METADATA = Metadata(FakeRuntime().spec.metadata.calibration)
CROPS = 16  # of the calibration


@pytest.fixture(scope="module")
def graph(checkpoint: Path) -> CompilerGraph:
    return trace(simplify(load_checkpoint(checkpoint).model))


@pytest.fixture(scope="module")
def ages(checkpoint: Path, crops: np.ndarray) -> np.ndarray:
    with open_runtime(checkpoint, device="cpu") as runtime:
        return runtime.run(crops).age


@pytest.fixture(scope="module")
def exported(
    checkpoint: Path, calibratable: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A file for compilers, with the crops of a dataset."""
    config = ExportConfig(
        checkpoint,
        ("compiler",),
        out=tmp_path_factory.mktemp("deploy"),
        int8=Int8Config(data=(calibratable,), crops=CROPS),
    )
    (made,) = export(config, Verifier(VerifyConfig(checkpoint)))
    assert made.verdict is not None
    assert made.verdict.passed
    return made.path


@pytest.mark.parametrize(
    ("opset", "kind", "version", "more"),
    [
        (11, "float32-nchw", 6, set()),
        (13, "uint8-nhwc", 7, {*NORMALISING, "Transpose"}),
        (17, "float32-nchw", 8, set()),
        (18, "uint8-nchw", 8, NORMALISING),
    ],
)
def test_every_input_and_opset_gives_the_ages_of_the_checkpoint(
    opset: int,
    kind: str,
    version: int,
    more: set[str],
    graph: CompilerGraph,
    crops: np.ndarray,
    ages: np.ndarray,
    tmp_path: Path,
) -> None:
    path = tmp_path / "halnet.compiler.onnx"
    write_compiler(graph, METADATA, path, Target(opset=opset, input=kind))
    model = onnx.load(path)
    assert [entry.version for entry in model.opset_import] == [opset]
    assert model.ir_version == version
    used = {node.op_type for node in model.graph.node}
    assert used == COMMON - ({"HardSwish"} if opset < 14 else set()) | more
    assert json.loads(path.with_name(path.name + ".json").read_text())["opset"] == opset
    with open_runtime(path) as runtime:
        assert (runtime.spec.batch_limits.minimum, runtime.spec.batch_limits.maximum) == (1, 1)
        np.testing.assert_allclose(runtime.run(crops).age, ages, atol=1e-3)
    assert np.ptp(ages) > 1


def test_the_sidecar_says_all_that_a_program_needs(
    exported: Path, crops: np.ndarray, ages: np.ndarray
) -> None:
    import onnxruntime

    stated = json.loads(exported.with_name(exported.name + ".json").read_text())
    image, output = stated["input"], stated["output"]
    assert (image["shape"], image["layout"], image["dtype"], image["colour"]) == (
        *([1, 3, 224, 224], "NCHW", "float32", "RGB"),
    )
    assert output["shape"] == [1, 101]
    pixels = (crops - np.array(image["mean"])) / np.array(image["std"])
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    for crop, age in zip(pixels.transpose(0, 3, 1, 2).astype(np.float32), ages, strict=True):
        (logits,) = session.run([output["name"]], {image["name"]: crop[None]})
        powers = np.exp(logits[0] - logits.max())
        assert (powers / powers.sum()) @ np.arange(101) == pytest.approx(age, abs=1e-3)
    assert Metadata.from_properties(stated["properties"], "sidecar").datasets[0].name == "synthetic"


def test_the_crops_are_those_of_the_listed_validation_photos(
    exported: Path, calibratable: Path
) -> None:
    array = exported.with_name(exported.name + ".crops.npy")
    listed = json.loads(exported.with_name(exported.name + ".crops.json").read_text())
    data = PreparedDataset(calibratable)
    records = {record.source: record for record in data.select("val")}
    assert listed["file"] == array.name
    assert listed["sha256"] == sha256_file(array)
    assert listed["crops"] == len(listed["photos"]) == CROPS
    expected = data.inner_crops([records[source] for source in listed["photos"]])
    np.testing.assert_array_equal(np.load(array), expected)
    manifest = json.loads((exported.parent / "manifest.json").read_text())
    entry = manifest["artifacts"]["halnet.compiler.onnx"]
    assert entry["calibration"] == listed
    assert (entry["batch"], entry["format"], entry["precision"]) == (1, "compiler", "fp32")
    assert entry["sha256"] == sha256_file(exported)


def test_an_operator_that_an_opset_does_not_have_is_refused(tmp_path: Path) -> None:
    from halnet.export.to_onnx import export_graph

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 1, 32, 32), torch.nn.Mish(), torch.nn.Flatten()
    )
    proto = export_graph(network, torch.zeros(1, 3, 224, 224), ("logits",))
    graph = CompilerGraph(proto, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "distribution")
    path = tmp_path / "halnet.compiler.onnx"
    write_compiler(graph, METADATA, path, Target(opset=18))
    path.unlink()
    with pytest.raises(
        ArtifactError, match="opset 17: expected 18 or above, .* Mish needs"
    ) as found:
        write_compiler(graph, METADATA, path, Target(opset=17))
    assert "\n" not in str(found.value)
    assert not path.exists()


def test_a_file_with_a_larger_batch(crops: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AgeNet().eval()
    model.network = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 4, 32, 32), torch.nn.AvgPool2d(7), torch.nn.Flatten()),
        torch.nn.Linear(4, 101),
    )
    path = tmp_path / "halnet.compiler.onnx"
    write_compiler(trace(model, batch=2), METADATA, path, Target(input="uint8-nhwc"))
    (image,) = onnx.load(path).graph.input
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [2, 224, 224, 3]
    with torch.no_grad(), open_runtime(path) as runtime:
        expected = model(torch.from_numpy(crops))[0].numpy()
        np.testing.assert_allclose(runtime.run(crops).age, expected, atol=1e-3)


def compare(model: Path, *files: Path) -> tuple[int, str]:
    """Run the comparison as a command; return its status and what it printed."""
    result = CliRunner().invoke(main, [str(path) for path in (model, *files)])
    return result.exit_code, result.output


def test_logits_from_elsewhere_are_compared(
    exported: Path, onnx_artifact: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    files = tmp_path / "crops.npy", tmp_path / "logits.npy"
    with open_runtime(exported) as runtime:
        found = runtime.run(crops)
    logits = np.log(found.probabilities)
    np.save(files[0], crops)
    np.save(files[1], logits)
    status, printed = compare(exported, *files)
    assert status == 0
    assert printed.startswith("5 crops: ages shift by ")
    assert printed.endswith("one by 0.000\n")
    logits[0] = np.where(np.arange(101) == 90, 99, 0)  # certainly 90 years
    np.save(files[1], logits)
    status, printed = compare(exported, *files)
    assert status == 1
    assert f"one by {90 - found.age[0]:.3f}" in printed
    assert "expected a file with logits" in compare(onnx_artifact, *files)[1]
    for wrong in (logits[:4], logits[:, :100], np.full_like(logits, np.nan)):
        np.save(files[1], wrong)
        status, printed = compare(exported, *files)
        assert status == 2
        assert "expected finite numbers of shape (5, 101)" in printed
    files[1].write_bytes(b"no array")
    assert compare(exported, *files)[0] == 2
