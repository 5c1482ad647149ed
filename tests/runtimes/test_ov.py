"""OpenVINO: IR folders and ONNX files, modes, precision."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.runtimes.backends import open_runtime

pytest.importorskip("openvino")


def test_the_same_from_a_folder_its_xml_and_an_onnx_file(
    openvino_artifact: Path, onnx_artifact: Path, checkpoint: Path, crops: np.ndarray
) -> None:
    with open_runtime(checkpoint, device="cpu") as pytorch:
        expected = pytorch.run(crops)
    for model in (openvino_artifact, openvino_artifact / "halnet.xml", onnx_artifact):
        with open_runtime(model, "openvino") as runtime:
            found = runtime.run(crops)
            assert runtime.spec.metadata.reference_mae == {"val": 20.0}
            assert runtime.spec.metadata.precision == "fp32"
        np.testing.assert_allclose(found.age, expected.age, atol=1e-3)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


def test_it_computes_in_float32(openvino_artifact: Path) -> None:
    with open_runtime(openvino_artifact, threads=1) as runtime:
        compiled = runtime._compiled  # type: ignore[attr-defined]
        assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_throughput_gives_what_latency_does(openvino_artifact: Path, crops: np.ndarray) -> None:
    many = np.concatenate([crops] * 4)
    with (
        open_runtime(openvino_artifact) as one,
        open_runtime(openvino_artifact, mode="throughput") as other,
    ):
        assert (one.spec.mode, other.spec.mode) == ("latency", "throughput")
        np.testing.assert_allclose(other.run(many).age, one.run(many).age, atol=1e-3)
        np.testing.assert_allclose(other.run(crops[:1]).age, one.run(crops[:1]).age, atol=1e-3)
        with ThreadPoolExecutor(4) as pool:
            for found in pool.map(lambda i: other.run(crops[i % 5 :]), range(8)):
                assert len(found) in range(1, 6)


def test_other_runtimes_have_no_throughput_mode(onnx_artifact: Path) -> None:
    with pytest.raises(ConfigError, match="runtime onnxruntime has latency; openvino has through"):
        open_runtime(onnx_artifact, "onnxruntime", mode="throughput")


def test_a_device_that_is_not_there(openvino_artifact: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"expected device cpu.*found npu; a GPU or"):
        open_runtime(openvino_artifact, "openvino", "npu")


@pytest.mark.parametrize("damage", ["no weights", "short weights", "no graph", "not xml"])
def test_damaged_folders(openvino_artifact: Path, tmp_path: Path, damage: str) -> None:
    folder = copytree(openvino_artifact, tmp_path / "halnet_openvino_model")
    weights, graph = folder / "halnet.bin", folder / "halnet.xml"
    if damage == "no weights":
        weights.unlink()
    elif damage == "short weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "no graph":
        graph.unlink()
    else:
        graph.write_text("<net")
    with pytest.raises(ArtifactError, match="OpenVINO cannot read it"):
        open_runtime(folder)


def test_a_model_of_someone_else(openvino_artifact: Path, tmp_path: Path) -> None:
    folder = copytree(openvino_artifact, tmp_path / "halnet_openvino_model")
    graph = folder / "halnet.xml"
    text = graph.read_text()
    graph.write_text(text.replace("<halnet>", "<other>").replace("</halnet>", "</other>"))
    with pytest.raises(ArtifactError, match=r"found no halnet\.\* metadata"):
        open_runtime(folder)


def test_nothing_is_reported_to_anybody(openvino_artifact: Path) -> None:
    """By itself, OpenVINO tells an analytics server that it was imported, but in CI."""
    program = """
import sys
asked = []
sys.addaudithook(lambda event, args: asked.append(event) if event.startswith("socket.") else None)
import multiprocessing.process
multiprocessing.process.BaseProcess.start = lambda self: asked.append("process")
from halnet.export import to_openvino
from halnet.runtimes.backends import open_runtime
open_runtime(sys.argv[1], "openvino").close()
import time
time.sleep(1)
print(asked)
"""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-c", program, openvino_artifact],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
