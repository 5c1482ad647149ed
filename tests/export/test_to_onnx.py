import json
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from halnet.artifact import sha256_file
from halnet.export import oldest, to_onnx
from halnet.export.graph import simplify
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.runtimes.backends import open_runtime


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
    # The manifest states the oldest runtimes for these; with newer ones, search for them again.
    assert (model.opset_import[0].version, model.ir_version) == (oldest.OPSET, oldest.IR_VERSION)
    used = {node.op_type for node in model.graph.node}
    assert not used & {"Concat", "Split", "Shape", "Gather", "BatchNormalization"}
    assert str(Path(__file__).parents[2]) not in onnx_artifact.read_bytes().decode("latin-1")


def test_a_trace_leaves_the_program_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other threads print and warn meanwhile."""
    during: list[Any] = []

    def watch(*args: Any, **options: Any) -> Any:
        during.extend([sys.stdout, list(warnings.filters)])
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.onnx, "export", watch)
    monkeypatch.setattr(logging.getLogger("torch.onnx"), "level", 7)
    before = [sys.stdout, list(warnings.filters)]
    with pytest.raises(KeyboardInterrupt):
        to_onnx.trace(AgeNet())
    assert during == before
    assert logging.getLogger("torch.onnx").level == 7


def test_onnxruntime_alone_can_run_the_artifact(
    onnx_artifact: Path, checkpoint: Path, crops: np.ndarray
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_artifact, providers=["CPUExecutionProvider"])
    age, _, probabilities = session.run(None, {"image": crops})
    np.testing.assert_allclose(probabilities @ np.arange(101), age, atol=1e-3)
    with open_runtime(checkpoint, device="cpu") as runtime:
        np.testing.assert_allclose(runtime.run(crops).age, age, atol=1e-3)


@pytest.mark.parametrize(
    ("backbone", "head", "dtype"),
    [
        ("mobilenet_v3_large", "distribution", torch.float64),
        ("timm:tf_efficientnet_lite0", "distribution", torch.bfloat16),
        ("timm:resnet18", "ordinal", torch.float32),
    ],
)
def test_every_network_can_be_traced(
    backbone: str, head: str, dtype: torch.dtype, crops: np.ndarray
) -> None:
    """The outputs are those of PyTorch, for another batch size than the traced one.

    `dtype` is the default dtype of PyTorch, which the program may have set.
    """
    import onnxruntime

    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        model = AgeNet(NetworkConfig(backbone=backbone, head=head)).eval()
        data = to_onnx.trace(simplify(model)).SerializeToString()
        with torch.inference_mode():
            expected = [value.numpy() for value in model(torch.from_numpy(crops))]
    finally:
        torch.set_default_dtype(torch.float32)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    found = session.run(["age", "stddev", "probabilities"], {"image": crops})
    for name, a, b in zip(("age", "stddev", "probabilities"), found, expected, strict=True):
        assert a.dtype == b.dtype == np.float32
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
    assert entry["opens_with"] == {"onnxruntime": ">=1.15.0", "openvino": ">=2023.0.0"}


def test_only_the_backbone_is_in_half_precision(graphs: dict[str, Any], crops: np.ndarray) -> None:
    import onnxruntime

    half, full = graphs["fp16"], graphs["fp32"]
    kinds = {t.name: t.data_type for t in half.graph.initializer}
    weights = [kind for name, kind in kinds.items() if name.endswith(".weight")]
    assert set(weights) == {onnx.TensorProto.FLOAT16}
    assert len(half.SerializeToString()) < 0.55 * len(full.SerializeToString())
    casts = [node for node in half.graph.node if node.op_type == "Cast"]
    assert len(casts) == 3, "from uint8 to float, to half, and back to float"
    (softmax,) = (node for node in half.graph.node if node.op_type == "Softmax")
    assert softmax.input[0] == casts[-1].output[0], "the softmax computes in float32"
    ages = []
    for graph in (half, full):
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        ages.append(session.run(["age"], {"image": crops})[0])
    assert ages[0].dtype == np.float32
    np.testing.assert_allclose(*ages, atol=0.1)
    assert np.abs(ages[0] - ages[1]).max() > 1e-5, "half precision was really used"


def test_a_fixed_batch_size(checkpoint: Path, crops: np.ndarray, tmp_path: Path) -> None:
    from halnet.export import ExportConfig, export

    config = ExportConfig(checkpoint, ("onnx", "openvino"), batch=2, out=tmp_path)
    with open_runtime(checkpoint, device="cpu") as runtime:
        expected = runtime.run(crops).age  # five crops: three batches of two, the last filled up
    for exported in export(config):
        with open_runtime(exported.path) as runtime:
            assert (runtime.spec.batch_limits.minimum, runtime.spec.batch_limits.maximum) == (2, 2)
            found = runtime.run(crops)
        assert len(found) == 5
        np.testing.assert_allclose(found.age, expected, atol=1e-3)
