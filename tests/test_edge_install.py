"""The edge install: a fresh environment with numpy, OpenCV and ONNX Runtime, without PyTorch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from halnet.runtimes.fake import FakeRuntime
from halnet.runtimes.sidecar import Sidecar, sidecar_path

ROOT = Path(__file__).parents[1]

# The stored face stands in for YuNet, which may not be to be had here.
PREDICT = """
import importlib.util
from halnet import Predictor
from halnet.benchmarks.samples import portrait

assert not any(importlib.util.find_spec(name) for name in ("torch", "onnx", "sklearn"))
image, face = portrait()
(result,) = Predictor().predict_faces(image, [face])
print(f"{result.age:.3f}")
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that `make edge` makes."""
    venv = tmp_path_factory.mktemp("edge") / "venv"
    done = subprocess.run(
        ["make", "edge", f"EDGE={venv}", f"PYTHON={sys.executable}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("needs a package registry")
    assert done.returncode == 0, done.stderr
    assert " MB" in done.stdout
    return venv / "bin" / "python"


def run(python: Path, *args: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *map(str, args)], capture_output=True, text=True, check=False, cwd="/",
        env={**os.environ, **variables},
    )  # fmt: skip


def test_the_same_age_without_pytorch(edge: Path) -> None:
    from halnet import Predictor
    from halnet.benchmarks.samples import portrait

    done = run(edge, "-c", PREDICT)
    assert done.returncode == 0, done.stderr
    image, face = portrait()
    (expected,) = Predictor(runtime="pytorch").predict_faces(image, [face])
    assert float(done.stdout) == pytest.approx(expected.age, abs=0.01)


def test_what_needs_more_names_the_cure(edge: Path, prepared: Path, tmp_path: Path) -> None:
    halnet = edge.with_name("halnet")
    engine = tmp_path / "halnet.engine"
    engine.touch()
    sidecar = Sidecar(
        "tensorrt_rtx", "1", (), (1, 1, 1), "", "", FakeRuntime().spec.metadata.to_properties()
    )
    sidecar_path(engine).write_text(sidecar.to_json())
    for args, cure in (
        (("predict", "x.jpg", "--runtime", "openvino"), "pip install 'halnet[openvino]'"),
        (("predict", "x.jpg", "--model", engine), "pip install 'halnet[tensorrt-rtx]'"),
        (("export", "--out", tmp_path / "out"), "pip install 'halnet[export]'"),
        (("train", "--data", prepared, "--out", tmp_path / "run"), "pip install 'halnet[train]'"),
        (("predict", "x.jpg", "--runtime", "pytorch"), "pip install 'halnet[train]'"),
    ):
        done = run(edge, halnet, *args)
        assert done.returncode == 2
        assert cure in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_info_names_what_is_missing(edge: Path) -> None:
    done = run(edge, edge.with_name("halnet"), "info", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["runtime"]: entry for entry in json.loads(done.stdout)["runtimes"]}
    assert found["onnxruntime"]["devices"] == ["cpu"]
    assert not found["onnxruntime"]["problem"]
    for name, extra in (
        ("openvino", "openvino"), ("tensorrt", "tensorrt-rtx"), ("pytorch", "train")
    ):  # fmt: skip
        assert found[name]["version"] is None
        assert found[name]["problem"] == f"pip install 'halnet[{extra}]'"


def test_a_photo_through_detection(edge: Path, yunet: Path) -> None:
    from halnet.artifact import bundled

    script = ROOT / "examples" / "edge.py"
    done = run(edge, script, bundled("portrait.jpg"), HALNET_YUNET=str(yunet))
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout
    assert "years, 90 % between" in done.stdout
