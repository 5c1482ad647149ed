"""The edge install: a new environment with NumPy, OpenCV and ONNX Runtime, without PyTorch.

`make extras` runs these tests, and `make lowest` does so with the lowest versions.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet.runtimes.fake import FakeRuntime
from halnet.runtimes.sidecar import Sidecar, sidecar_path

pytestmark = pytest.mark.extras

ROOT = Path(__file__).parents[1]

# The stored face replaces YuNet, which cannot be downloaded everywhere.
PREDICT = """
import importlib.util, sys
import numpy
from halnet import Predictor
from halnet.benchmarks.samples import portrait

assert not any(importlib.util.find_spec(name) for name in ("torch", "onnx", "sklearn"))
image, face = portrait()
predictor = Predictor()
(result,) = predictor.predict_faces(image, [face])
(age,) = predictor.predict_crops(numpy.load(sys.argv[1])).age
print(f"{result.age:.4f} {age:.4f}")
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that `make edge` makes."""
    venv = tmp_path_factory.mktemp("edge") / "venv"
    done = subprocess.run(
        ["make", "edge", f"EDGE={venv}", f"PYTHON={sys.executable}"],  # CONSTRAINTS is inherited
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "(from versions: none)" in done.stderr:
        pytest.skip("needs a package registry")
    assert done.returncode == 0, done.stderr
    assert " MB" in done.stdout
    return venv / "bin" / "python"


def run(python: Path, *args: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python), *map(str, args)], capture_output=True, text=True, check=False, cwd="/",
        env={**os.environ, **variables},
    )  # fmt: skip


def test_the_same_age_without_pytorch(
    edge: Path, portrait_crop: Path, portrait_ages: list[float]
) -> None:
    done = run(edge, "-c", PREDICT, portrait_crop)
    assert done.returncode == 0, done.stderr
    photo, crop = map(float, done.stdout.split())
    assert crop == pytest.approx(portrait_ages[1], abs=0.001)
    # Releases of OpenCV differ a little in how they decode and scale a photo.
    assert photo == pytest.approx(portrait_ages[0], abs=0.1)


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("predict x.jpg --runtime openvino", "openvino"),
        ("predict x.jpg --runtime pytorch", "pytorch"),
        ("predict x.jpg --model {tmp}/halnet.engine", "tensorrt-rtx"),
        ("export --out {tmp}/deploy", "export"),
        ("train --data {data} --out {tmp}/run", "train"),
    ],
)
def test_the_error_for_a_missing_package_says_what_to_install(
    command: str, extra: str, edge: Path, prepared: Path, tmp_path: Path
) -> None:
    engine = tmp_path / "halnet.engine"
    engine.touch()
    properties = FakeRuntime().spec.metadata.to_properties()
    sidecar = Sidecar("tensorrt_rtx", "1", (), (1, 1, 1), "", properties)
    sidecar_path(engine).write_text(sidecar.to_json())
    args = command.format(tmp=tmp_path, data=prepared).split()
    done = run(edge, edge.with_name("halnet"), *args)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"which is not installed; pip install 'halnet[{extra}]'")
    assert not (tmp_path / "deploy").exists()
    assert not (tmp_path / "run").exists()


def test_info_says_what_to_install(edge: Path) -> None:
    done = run(edge, edge.with_name("halnet"), "info", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["runtime"]: entry for entry in json.loads(done.stdout)["runtimes"]}
    assert found["onnxruntime"]["devices"] == ["cpu"]
    assert not found["onnxruntime"]["problem"]
    missing = {name: entry["problem"] for name, entry in found.items() if entry["version"] is None}
    assert missing == {
        "openvino": "pip install 'halnet[openvino]'",
        "tensorrt": "pip install 'halnet[tensorrt-rtx]'",
        "litert": "pip install 'halnet[litert]'",
        "pytorch": "pip install 'halnet[pytorch]'",
    }


@pytest.mark.parametrize(("width", "height"), [(8000, 200), (100, 8000), (31, 31)])
def test_a_strip_has_no_faces(
    width: int, height: int, edge: Path, yunet: Path, tmp_path: Path
) -> None:
    strip = tmp_path / "strip.png"
    cv2.imwrite(str(strip), np.full((height, width, 3), 128, np.uint8))
    done = run(edge, "-m", "halnet", "predict", strip, "--json", HALNET_YUNET=str(yunet))
    (found,) = json.loads(done.stdout)
    assert (found["faces"], "error" in found) == ([], False)


def test_the_example_finds_and_predicts_a_face(edge: Path, yunet: Path) -> None:
    from halnet.artifact import bundled

    script = ROOT / "examples" / "edge.py"
    done = run(edge, script, bundled("portrait.jpg"), HALNET_YUNET=str(yunet))
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout
    assert "portrait.jpg: 29." in done.stdout
    assert "years, 90 % interval " in done.stdout
