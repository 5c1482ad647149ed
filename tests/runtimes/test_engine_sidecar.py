"""The sidecar of an engine that trtexec built; here for the fakes of TensorRT."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.runtimes import cuda
from halnet.runtimes.backends import open_runtime


@pytest.fixture
def bare(engine: Path) -> Path:
    """An engine without a sidecar."""
    engine.with_name(engine.name + ".json").unlink()
    return engine


def test_an_engine_runs_with_the_sidecar_that_was_written(
    fakes: SimpleNamespace, bare: Path, onnx_artifact: Path, crops: np.ndarray
) -> None:
    from halnet.export.engine_sidecar import SidecarConfig, write_sidecar

    path = write_sidecar(SidecarConfig(bare, onnx_artifact, (1, 2, 4)))
    stated = json.loads(path.read_text())
    assert path.name == "halnet.engine.json"
    assert (stated["library"], stated["version"]) == ("tensorrt_rtx", "9.8.7")
    assert stated["capabilities"] == ["SM86"]
    with open_runtime(bare, "tensorrt", "cuda") as runtime, open_runtime(onnx_artifact) as origin:
        assert runtime.spec.metadata == origin.spec.metadata
        assert (runtime.spec.batch_limits.minimum, runtime.spec.batch_limits.maximum) == (1, 4)
        assert len(runtime.run(crops)) == 5
    bare.write_bytes(b"another engine")
    with pytest.raises(ArtifactError, match="expected the engine that halnet.engine.json"):
        open_runtime(bare, "tensorrt", "cuda")


def test_a_fixed_batch_size_is_that_of_the_onnx_file(
    fakes: SimpleNamespace, bare: Path, onnx_artifact: Path, tmp_path: Path
) -> None:
    from halnet.export.engine_sidecar import SidecarConfig, write_sidecar

    model = onnx.load(onnx_artifact)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    onnx.save(model, tmp_path / "three.onnx")
    path = write_sidecar(SidecarConfig(bare, tmp_path / "three.onnx"))
    assert json.loads(path.read_text())["batches"] == [3, 3, 3]


def test_what_is_no_artifact_is_refused(
    fakes: SimpleNamespace,
    bare: Path,
    onnx_artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from halnet.export.engine_sidecar import SidecarConfig, write_sidecar

    with pytest.raises(ArtifactError, match=r"none\.engine: expected an engine .*No such file"):
        write_sidecar(SidecarConfig(tmp_path / "none.engine", onnx_artifact))
    model = onnx.load(onnx_artifact)
    model.graph.output[0].name = "logits"
    for node in model.graph.node:
        node.output[:] = ["logits" if name == "age" else name for name in node.output]
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ArtifactError, match="and the outputs age, .*found .*logits"):
        write_sidecar(SidecarConfig(bare, tmp_path / "other.onnx"))
    (tmp_path / "cut.onnx").write_bytes(onnx_artifact.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="cut.onnx"):
        write_sidecar(SidecarConfig(bare, tmp_path / "cut.onnx"))
    monkeypatch.setattr(cuda, "find_gpus", lambda: [])
    with pytest.raises(RuntimeUnavailableError):
        write_sidecar(SidecarConfig(bare, onnx_artifact))
    assert not bare.with_name("halnet.engine.json").exists()
