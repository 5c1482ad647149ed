import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from halnet.artifact import sha256_file
from halnet.errors import ArtifactError, ConfigError
from halnet.export import ExportConfig, export, to_onnx
from halnet.runtimes import open_runtime
from halnet.training.config import TrainConfig
from halnet.training.model import AgeNet


def test_the_artifact_follows_the_contract(onnx_artifact: Path, checkpoint: Path) -> None:
    model = onnx.load(onnx_artifact)
    onnx.checker.check_model(model, full_check=True)
    (image,) = model.graph.input
    assert image.name == "image"
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    dims = image.type.tensor_type.shape.dim
    assert dims[0].dim_param
    assert [d.dim_value for d in dims[1:]] == [224, 224, 3]
    assert [o.name for o in model.graph.output] == ["age", "stddev", "probabilities"]
    assert {o.type.tensor_type.elem_type for o in model.graph.output} == {onnx.TensorProto.FLOAT}
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["halnet.precision"] == "fp32"
    assert properties["halnet.checkpoint_sha256"] == sha256_file(checkpoint)
    assert json.loads(properties["halnet.reference_mae"]) == {"val": 20.0}
    assert model.opset_import[0].version == 18
    assert str(Path(__file__).parents[2]) not in onnx_artifact.read_bytes().decode("latin-1")


def test_a_program_that_knows_nothing_of_us_can_use_it(
    onnx_artifact: Path, checkpoint: Path, crops: np.ndarray
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_artifact, providers=["CPUExecutionProvider"])
    age, _, probabilities = session.run(None, {"image": crops})
    np.testing.assert_allclose(probabilities @ np.arange(101), age, atol=1e-3)
    with open_runtime(checkpoint, device="cpu") as runtime:
        np.testing.assert_allclose(runtime.run(crops).age, age, atol=1e-3)


@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        ("mobilenet_v3_large", "distribution"),
        ("timm:tf_efficientnet_lite0", "distribution"),
        ("timm:resnet18", "ordinal"),
    ],
)
def test_every_network_takes_the_same_way(backbone: str, head: str, crops: np.ndarray) -> None:
    """Batches of another size than the traced one, against PyTorch."""
    import onnxruntime
    import torch

    torch.manual_seed(0)
    model = AgeNet(TrainConfig(backbone=backbone, head=head)).eval()
    data = to_onnx.trace(model).SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        expected = [value.numpy() for value in model(torch.from_numpy(crops))]
    found = session.run(["age", "stddev", "probabilities"], {"image": crops})
    for name, a, b in zip(("age", "stddev", "probabilities"), found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3, err_msg=name)


def test_the_manifest_states_the_artifact(onnx_artifact: Path, checkpoint: Path) -> None:
    entry = json.loads((onnx_artifact.parent / "manifest.json").read_text())["artifacts"][
        "halnet.onnx"
    ]
    assert entry["sha256"] == sha256_file(onnx_artifact)
    assert entry["bytes"] == onnx_artifact.stat().st_size
    assert entry["checkpoint_sha256"] == sha256_file(checkpoint)
    assert entry["precision"] == "fp32"
    assert set(entry["versions"]) == {"halnet", "torch", "onnx", "onnxscript"}


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_export_that_stops_leaves_what_was_there(
    failure: BaseException, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "halnet.onnx"
    target.write_bytes(b"the one before")
    real = Path.write_bytes

    def half(self: Path, data: bytes) -> int:
        if self.suffix == ".onnx":
            real(self, data[: len(data) // 2])
            raise failure
        return real(self, data)

    monkeypatch.setattr(to_onnx, "trace", lambda model: onnx.load(_MINIMAL))
    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(type(failure) if isinstance(failure, OSError) else failure):  # type: ignore[arg-type]
        export(ExportConfig(checkpoint=checkpoint, out=tmp_path))
    assert target.read_bytes() == b"the one before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.fixture(autouse=True)
def _minimal(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A tiny valid ONNX model, where what is exported does not matter."""
    global _MINIMAL  # noqa: PLW0603
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]))
    _MINIMAL = tmp_path_factory.mktemp("minimal") / "minimal.onnx"
    onnx.save(model, _MINIMAL)


_MINIMAL = Path()


def test_a_damaged_manifest_stops_before_the_artifact_is_replaced(
    checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "halnet.onnx").write_bytes(b"the one before")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged; delete it and export again"):
        export(ExportConfig(checkpoint=checkpoint, out=tmp_path))
    assert (tmp_path / "halnet.onnx").read_bytes() == b"the one before"


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format tflite: expected one of onnx"):
        ExportConfig(format="tflite")
    with pytest.raises(ConfigError, match="precision int4: format onnx has fp32"):
        ExportConfig(precision="int4")
    with pytest.raises(ArtifactError, match="cannot be read"):
        export(ExportConfig(checkpoint=tmp_path / "none.safetensors", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
