"""The back end OpenVINO: its files, its modes and its precision."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.runtimes.backends import open_runtime

openvino = pytest.importorskip("openvino")


@pytest.mark.parametrize("kind", ["folder", "xml", "onnx"])
def test_a_folder_its_xml_file_and_an_onnx_file_give_the_same_ages(
    kind: str, openvino_artifact: Path, onnx_artifact: Path, checkpoint: Path, crops: np.ndarray
) -> None:
    model = {
        "folder": openvino_artifact,
        "xml": openvino_artifact / "halnet.xml",
        "onnx": onnx_artifact,
    }[kind]
    with open_runtime(checkpoint, device="cpu") as pytorch:
        expected = pytorch.run(crops)
    with open_runtime(model, "openvino") as runtime:
        found = runtime.run(crops)
        assert runtime.spec.metadata.reference_mae == {"val": 20.0}
        assert runtime.spec.metadata.precision == "fp32"
    np.testing.assert_allclose(found.age, expected.age, atol=1e-3)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


def test_the_model_is_compiled_for_float32(
    openvino_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Any] = []

    class Core(openvino.Core):  # type: ignore[misc]
        def compile_model(self, *args: Any) -> Any:
            compiled.append(super().compile_model(*args))
            return compiled[-1]

    monkeypatch.setattr(openvino, "Core", Core)
    with open_runtime(openvino_artifact, threads=1):
        assert compiled[0].get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
        assert compiled[0].get_property("INFERENCE_NUM_THREADS") == 1


def test_both_modes_give_the_same_ages(openvino_artifact: Path, crops: np.ndarray) -> None:
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


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_file_that_is_overwritten_does_not_change_an_open_model(
    openvino_artifact: Path, tmp_path: Path
) -> None:
    folder = Path(copytree(openvino_artifact, tmp_path / "halnet_openvino_model"))
    with open_runtime(folder, "openvino"):
        assert str(folder) not in Path("/proc/self/maps").read_text()


def test_a_device_that_is_not_there_is_refused(openvino_artifact: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match=r"expected device cpu.*found npu; for a GPU"):
        open_runtime(openvino_artifact, "openvino", "npu")


@pytest.mark.parametrize("damage", ["no weights", "short weights", "no graph", "not xml"])
def test_a_damaged_folder_is_refused(openvino_artifact: Path, tmp_path: Path, damage: str) -> None:
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


def test_a_model_without_our_metadata_is_refused(openvino_artifact: Path, tmp_path: Path) -> None:
    folder = copytree(openvino_artifact, tmp_path / "halnet_openvino_model")
    graph = folder / "halnet.xml"
    text = graph.read_text()
    graph.write_text(text.replace("<halnet>", "<other>").replace("</halnet>", "</other>"))
    with pytest.raises(ArtifactError, match=r"found no halnet\.\* metadata"):
        open_runtime(folder)


def test_openvino_sends_nothing_to_its_analytics_server(openvino_artifact: Path) -> None:
    """By default, OpenVINO reports each import to a server, except in CI."""
    program = """
import os, sys
asked = []
sys.addaudithook(lambda event, args: asked.append(event) if event.startswith("socket.") else None)
import multiprocessing.process
multiprocessing.process.BaseProcess.start = lambda self: asked.append("process")
from halnet.export import to_openvino
from halnet.runtimes.backends import open_runtime
open_runtime(sys.argv[1], "openvino").close()
import threading
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
print(asked, flush=True)
os._exit(0)  # a thread that sends would not end
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
