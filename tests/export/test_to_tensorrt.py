"""Engines that TensorRT for RTX builds, which needs no GPU, and their sidecars."""

import hashlib
from pathlib import Path
from typing import Any

import onnx
import pytest

from halnet.artifact import Metadata
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.export import ExportConfig, Target, export
from halnet.export.to_tensorrt import write_tensorrt
from halnet.network.checkpoint import load_checkpoint
from halnet.runtimes.backends import describe, open_runtime
from halnet.runtimes.sidecar import Sidecar

trt = pytest.importorskip("tensorrt_rtx")


@pytest.fixture(scope="module")
def metadata(checkpoint: Path) -> Metadata:
    return load_checkpoint(checkpoint).metadata


def test_the_sidecars_of_both_precisions(checkpoint: Path, tmp_path: Path) -> None:
    config = ExportConfig(
        checkpoint, ("tensorrt",), ("fp32", "fp16"), out=tmp_path, target=Target((1, 2, 4))
    )
    full, half = export(config)
    assert half.size < 0.95 * full.size
    for exported, capabilities in (
        (full, ("SM80", "SM86", "SM89", "SM120")),
        (half, ("SM75", "SM80", "SM86", "SM89", "SM120")),
    ):
        sidecar = Sidecar.read(exported.path)
        assert (sidecar.library, sidecar.version) == ("tensorrt_rtx", trt.__version__)
        assert sidecar.capabilities == capabilities
        assert sidecar.batches == (1, 2, 4)
        assert sidecar.engine_sha256 == hashlib.sha256(exported.path.read_bytes()).hexdigest()
        spec = describe(exported.path)
        assert spec.metadata.precision == exported.precision
        assert spec.metadata.reference_mae == {"val": 20.0}


def test_the_sidecar_names_the_graph(
    graphs: dict[str, Any], metadata: Metadata, tmp_path: Path
) -> None:
    path = tmp_path / "halnet.engine"
    write_tensorrt(graphs["fp32"], metadata, path, Target(capabilities=("SM89",)))
    sidecar = Sidecar.read(path)
    data = graphs["fp32"].SerializeToString()
    assert sidecar.onnx_sha256 == hashlib.sha256(data).hexdigest()
    assert sidecar.capabilities == ("SM89",)


def test_a_fixed_batch_is_its_own_profile(checkpoint: Path, tmp_path: Path) -> None:
    config = ExportConfig(
        checkpoint, ("tensorrt",), batch=3, out=tmp_path, target=Target(capabilities=("SM86",))
    )
    (exported,) = export(config)
    assert Sidecar.read(exported.path).batches == (3, 3, 3)


def test_capabilities_that_the_library_cannot_build_for(
    graphs: dict[str, Any], metadata: Metadata, tmp_path: Path
) -> None:
    path = tmp_path / "halnet.engine"
    with pytest.raises(
        ConfigError, match="capability SM99: expected one of SM75, SM80.* tensorrt_rtx"
    ):
        write_tensorrt(graphs["fp32"], metadata, path, Target(capabilities=("SM99",)))
    with pytest.raises(ArtifactError, match="no engine for SM75: .*FP32 GEMM is not supported"):
        write_tensorrt(graphs["fp32"], metadata, path, Target(capabilities=("SM75",)))
    assert not list(tmp_path.iterdir())


def test_a_graph_that_tensorrt_refuses(
    graphs: dict[str, Any], metadata: Metadata, tmp_path: Path
) -> None:
    """The graph has a Transpose of uint8."""
    graph = onnx.ModelProto()
    graph.CopyFrom(graphs["fp32"])
    cast, transpose = graph.graph.node[0], graph.graph.node[1]
    assert (cast.op_type, transpose.op_type) == ("Cast", "Transpose")
    transpose.input[0], cast.input[0] = cast.input[0], transpose.output[0]
    following = next(n for n in graph.graph.node[2:] if transpose.output[0] in n.input)
    following.input[0] = cast.output[0]
    nodes = [transpose, cast, *graph.graph.node[2:]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.graph.node[:]
    graph.graph.node.extend(copies)
    with pytest.raises(ArtifactError, match="TensorRT (cannot read|.*built no engine)"):
        write_tensorrt(graph, metadata, tmp_path / "halnet.engine", Target())


def test_an_engine_cannot_be_opened_without_a_gpu(
    graphs: dict[str, Any], metadata: Metadata, tmp_path: Path
) -> None:
    from halnet.runtimes.cuda import find_gpus

    try:
        find_gpus()
    except RuntimeUnavailableError:
        path = tmp_path / "halnet.engine"
        write_tensorrt(graphs["fp32"], metadata, path, Target(capabilities=("SM86",)))
        with pytest.raises(RuntimeUnavailableError, match="CUDA device"):
            open_runtime(path)
    else:
        pytest.skip("there is a GPU here")
