"""The back end LiteRT: its files, its threads and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet import Predictor
from halnet.artifact import Metadata
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.runtimes.backends import choose_runtime, describe, open_runtime
from halnet.runtimes.base import BatchLimits
from halnet.runtimes.litert_file import add_properties

pytest.importorskip("ai_edge_litert")


@pytest.fixture
def litert_parts(litert_artifact: Path) -> Any:
    """The artifact as the objects of its FlatBuffer, which a test may change."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(litert_artifact.read_bytes(), 0)


def pack(parts: Any, path: Path) -> Path:
    import flatbuffers

    builder = flatbuffers.Builder(0)
    builder.Finish(parts.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def buffer_of_metadata(parts: Any) -> Any:
    (entry,) = (entry for entry in parts.metadata if entry.name == b"halnet")
    return parts.buffers[entry.buffer]


def test_the_ages_are_those_of_pytorch(
    litert_artifact: Path, litert_network: Any, crops: np.ndarray
) -> None:
    import torch

    with torch.no_grad():
        age, stddev, probabilities = (part.numpy() for part in litert_network(torch.tensor(crops)))
    assert np.ptp(age) > 1
    with open_runtime(litert_artifact) as runtime:
        assert runtime.spec.runtime == "litert"
        found = runtime.run(crops)
    np.testing.assert_allclose(found.age, age, atol=1e-3)
    np.testing.assert_allclose(found.stddev, stddev, atol=1e-3)
    np.testing.assert_allclose(found.probabilities, probabilities, atol=1e-5)


def test_a_file_is_described_by_its_metadata(
    litert_artifact: Path, litert_metadata: Metadata
) -> None:
    assert choose_runtime(litert_artifact) == "litert"
    spec = describe(litert_artifact)
    assert spec.metadata == litert_metadata
    assert (spec.runtime, spec.batch_limits) == ("litert", BatchLimits())


def test_the_predictor_runs_a_file(litert_artifact: Path, crops: np.ndarray) -> None:
    with open_runtime(litert_artifact) as runtime:
        expected = runtime.run(crops).age
    with Predictor(litert_artifact) as predictor:
        np.testing.assert_array_equal(predictor.predict_crops(crops).age, expected)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_file_of_a_fixed_batch_size_takes_any_number_of_crops(
    batch: int, litert_parts: Any, litert_artifact: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    (graph,) = litert_parts.subgraphs
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        tensor.shape, tensor.shapeSignature = [batch, *tensor.shape[1:]], None
    with open_runtime(litert_artifact) as runtime:
        expected = runtime.run(crops).age
    with open_runtime(pack(litert_parts, tmp_path / "halnet.tflite")) as runtime:
        assert runtime.spec.batch_limits == BatchLimits(batch, batch)
        np.testing.assert_allclose(runtime.run(crops).age, expected, atol=1e-3)
        np.testing.assert_allclose(runtime.run(crops[4:]).age, expected[4:], atol=1e-3)


def test_weights_that_lie_behind_the_flatbuffer_are_kept(
    litert_parts: Any, litert_artifact: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    """The quantizer of LiteRT writes those of large models there."""
    buffer = max((b for b in litert_parts.buffers if b.data is not None), key=lambda b: len(b.data))
    weights = bytes(buffer.data)
    buffer.data, buffer.size, buffer.offset = None, len(weights), 2**20
    length = pack(litert_parts, tmp_path / "a.tflite").stat().st_size
    buffer.offset = (length + 15) // 16 * 16
    data = pack(litert_parts, tmp_path / "a.tflite").read_bytes().ljust(buffer.offset, b"\0")
    path = tmp_path / "b.tflite"
    found = describe(litert_artifact).metadata.to_properties()
    path.write_bytes(add_properties(data + weights, found))
    with open_runtime(litert_artifact) as one, open_runtime(path) as other:
        np.testing.assert_array_equal(other.run(crops).age, one.run(crops).age)


@pytest.mark.parametrize("threads", [1, 1000])
def test_it_runs_on_as_many_threads_as_asked_for(
    threads: int, litert_artifact: Path, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ai_edge_litert import interpreter

    counts = []

    class Interpreter(interpreter.Interpreter):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            counts.append(options["num_threads"])
            super().__init__(**options)

    monkeypatch.setattr(interpreter, "Interpreter", Interpreter)
    with open_runtime(litert_artifact, threads=threads) as runtime:
        assert (runtime.spec.threads, counts) == (threads, [threads])
        assert len(runtime.run(crops)) == 5


@pytest.mark.parametrize("threads", [0, 1025])
def test_a_number_of_threads_out_of_range_is_refused(threads: int, litert_artifact: Path) -> None:
    with pytest.raises(ConfigError, match=f"threads: expected 1 to 1024, found {threads}"):
        open_runtime(litert_artifact, threads=threads)


@pytest.mark.parametrize("device", ["cuda", "gpu", "cpu:1"])
def test_another_device_than_the_cpu_is_refused(device: str, litert_artifact: Path) -> None:
    message = f"runtime litert: expected device cpu, found {device}"
    with pytest.raises(RuntimeUnavailableError, match=message):
        open_runtime(litert_artifact, "litert", device)


def test_a_build_without_xnnpack_is_refused(
    litert_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a build would give the same ages in ten times the time."""
    from ai_edge_litert import interpreter

    class Interpreter(interpreter.Interpreter):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            kernels = interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            super().__init__(**options, experimental_op_resolver_type=kernels)

    monkeypatch.setattr(interpreter, "Interpreter", Interpreter)
    message = r"expected XNNPACK, found a build of ai_edge_litert .* without it; pip install"
    with pytest.raises(RuntimeUnavailableError, match=message):
        open_runtime(litert_artifact)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, litert_artifact: Path, tmp_path: Path) -> None:
    data = litert_artifact.read_bytes()
    path = tmp_path / "halnet.tflite"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ArtifactError, match=r"halnet\.tflite") as raised:
        open_runtime(path)
    assert "\n" not in str(raised.value)


def test_a_file_of_another_kind_is_refused(onnx_artifact: Path, tmp_path: Path) -> None:
    path = tmp_path / "halnet.tflite"
    path.write_bytes(onnx_artifact.read_bytes())
    with pytest.raises(ArtifactError, match="expected a LiteRT model, found a file without the id"):
        open_runtime(path)


def test_a_model_without_our_metadata_is_refused(litert_parts: Any, tmp_path: Path) -> None:
    litert_parts.metadata = []
    path = pack(litert_parts, tmp_path / "a.tflite")
    for read in (open_runtime, describe):
        with pytest.raises(ArtifactError, match=r"found no halnet\.\* metadata; make a model"):
            read(path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\udcff"])
def test_damaged_metadata_is_refused(text: str, litert_parts: Any, tmp_path: Path) -> None:
    buffer_of_metadata(litert_parts).data = list(text.encode(errors="surrogateescape"))
    path = pack(litert_parts, tmp_path / "a.tflite")
    with pytest.raises(ArtifactError, match=r"a\.tflite"):
        open_runtime(path)


def test_another_fingerprint_is_refused(
    litert_parts: Any, litert_metadata: Metadata, tmp_path: Path
) -> None:
    buffer = buffer_of_metadata(litert_parts)
    own = litert_metadata.input.fingerprint()
    buffer.data = list(bytes(buffer.data).replace(own.encode(), b"0123456789abcdef"))
    path = pack(litert_parts, tmp_path / "a.tflite")
    message = f"expected crops with the input fingerprint .*{own}.* found 0123456789abcdef"
    with pytest.raises(ArtifactError, match=message):
        open_runtime(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("input", "expected the input image .* found .*'picture', 'uint8'"),
        (
            "output",
            "and the outputs age, stddev, probabilities, found .* and stddev, prob.*, years",
        ),
        ("signature", "LiteRT cannot load it"),
    ],
)
def test_another_model_is_refused(
    change: str, message: str, litert_parts: Any, tmp_path: Path
) -> None:
    (signature,) = litert_parts.signatureDefs
    if change == "signature":
        litert_parts.signatureDefs = []
    elif change == "input":
        signature.inputs[0].name = "picture"
    else:
        (age,) = (entry for entry in signature.outputs if entry.name == b"age")
        age.name = "years"
    path = pack(litert_parts, tmp_path / "a.tflite")
    with pytest.raises(ArtifactError, match=message):
        open_runtime(path)


def test_weights_of_8_bits_run_without_vnni(
    litert_parts: Any,
    litert_metadata: Metadata,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """XNNPACK adds the products of integers in 32 bits on every processor."""
    metadata = replace(litert_metadata, precision="int8", weight_bits=8)
    buffer_of_metadata(litert_parts).data = list(json.dumps(metadata.to_properties()).encode())
    path = pack(litert_parts, tmp_path / "halnet.int8.tflite")
    monkeypatch.setattr("halnet.runtimes.base.adds_8_bit_products_exactly", lambda: False)
    with open_runtime(path) as runtime:
        assert runtime.spec.metadata.weight_bits == 8
