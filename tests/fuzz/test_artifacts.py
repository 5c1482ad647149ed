import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halnet.ages import AGES, AgeCalibration
from halnet.artifact import OPENVINO_FILES, Metadata, TrainedSet
from halnet.runtimes.backends import describe, open_model
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.sidecar import Sidecar, sidecar_path

METADATA = Metadata(
    AgeCalibration(1.0, (1.0,) * 99, (1.0,) * 10, (1.0, 0.0, 0.0, 0.0)),
    (TrainedSet("synthetic", "ab" * 32, 100),),
    {"val": 5.0},
    minor_errors=((0.5, 1.0),) * 18,
)


@pytest.fixture(scope="module")
def graph() -> Any:
    """A network of one layer with the inputs and outputs of an artifact."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(0)
    constants = {
        "weights": rng.normal(0, 0.01, (3, len(AGES))).astype(np.float32),
        "ages": AGES[:, None],
        "axes": np.array([1, 2]),
        "flat": np.array([-1]),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("MatMul", ["probabilities", "ages"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], ["age"]),
        helper.make_node("Sqrt", ["age"], ["stddev"]),
    ]
    value = helper.make_tensor_value_info
    outputs = [value(name, kinds.FLOAT, ["n"]) for name in ("age", "stddev")]
    outputs.append(value("probabilities", kinds.FLOAT, ["n", len(AGES)]))
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [value("image", kinds.UINT8, ["n", 224, 224, 3])],
            outputs,
            [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto


@pytest.fixture(scope="module")
def onnx_file(graph: Any) -> bytes:
    import onnx

    onnx.helper.set_model_props(graph, METADATA.to_properties())
    return bytes(graph.SerializeToString())


@pytest.fixture(scope="module")
def folder_files(graph: Any, fuzz: Any) -> list[bytes]:
    """The contents of the files of an OpenVINO folder."""
    pytest.importorskip("openvino")
    from halnet.export.config import Target
    from halnet.export.to_openvino import write_openvino

    path = fuzz.folder / "original_openvino_model"
    write_openvino(graph, METADATA, path, Target())
    return [(path / name).read_bytes() for name in OPENVINO_FILES]


def run(path: Path, runtime: str, crops: Any, fuzz: Any) -> None:
    """Open and run a model."""
    with (
        fuzz.only_own_errors(),
        open_model(path, RuntimeOptions(runtime, "cpu", threads=1)) as opened,
    ):
        outputs = opened.run(crops)
        assert outputs.age.shape == outputs.stddev.shape == (len(crops),)
        assert outputs.probabilities.shape == (len(crops), len(AGES))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@given(data=st.data())
def test_onnx_files(data: Any, runtime: str, fuzz: Any, onnx_file: bytes, crops: Any) -> None:
    pytest.importorskip(runtime)
    path = fuzz.folder / "halnet.onnx"
    path.write_bytes(data.draw(fuzz.bytes(onnx_file)))
    with fuzz.only_own_errors():
        describe(path)
    run(path, runtime, crops[:2], fuzz)


@given(data=st.data())
def test_openvino_folders(data: Any, fuzz: Any, folder_files: list[bytes], crops: Any) -> None:
    path = fuzz.folder / "halnet_openvino_model"
    path.mkdir(exist_ok=True)
    which = data.draw(st.integers(0, 5)) == 0
    for name, content in zip(OPENVINO_FILES, folder_files, strict=True):
        is_damaged = name.endswith(".bin") == which
        (path / name).write_bytes(data.draw(fuzz.bytes(content)) if is_damaged else content)
    run(path, "openvino", crops[:2], fuzz)  # `describe` opens a folder in the same way


@given(data=st.data())
def test_litert_files(data: Any, fuzz: Any, litert_artifact: Path, crops: Any) -> None:
    pytest.importorskip("ai_edge_litert")
    path = fuzz.folder / "halnet.tflite"
    path.write_bytes(data.draw(fuzz.bytes(litert_artifact.read_bytes())))
    with fuzz.only_own_errors():
        describe(path)
    run(path, "litert", crops[:2], fuzz)


@given(data=st.data())
def test_metadata(data: Any, fuzz: Any) -> None:
    properties = METADATA.to_properties()
    name = data.draw(st.sampled_from(sorted(properties)))
    try:
        value = json.loads(properties[name])
    except ValueError:
        value = properties[name]
    text = data.draw(fuzz.json(value)).decode("utf-8", "surrogateescape")
    with fuzz.only_own_errors():
        metadata = Metadata.from_properties({**properties, name: text}, "halnet.onnx")
        low, high = metadata.calibration.interval(30.0, 5.0, 0.9)
        assert 0 <= low <= high <= 100
        metadata.to_properties()


@given(data=st.data())
def test_engines_and_sidecars(data: Any, fuzz: Any, crops: Any) -> None:
    engine = fuzz.folder / "halnet.fp16.engine"
    engine.write_bytes(data.draw(st.binary(max_size=100)))
    sidecar = Sidecar(
        "tensorrt_rtx", "1.7.1.116", ("SM86",), (1, 8, 32), "ab" * 32, METADATA.to_properties()
    )
    values = json.loads(sidecar.to_json())
    sidecar_path(engine).write_bytes(data.draw(fuzz.json(values)))
    with fuzz.only_own_errors():
        describe(engine)
    with fuzz.only_own_errors(), open_model(engine) as opened:
        opened.run(crops)
