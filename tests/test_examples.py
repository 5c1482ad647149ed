"""The programs in examples/, run as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from halnet.runtimes.backends import open_runtime

ROOT = Path(__file__).parents[1]


def test_the_demo_runs_without_a_face_detector(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HALNET_YUNET": str(tmp_path / "none.onnx"), "COLUMNS": "80"},
    )
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "none.onnx: the YuNet model cannot be read" in out
    assert "the landmarks stored beside the portrait are used instead" in out
    for name in ("halnet.onnx", "halnet_openvino_model"):
        assert f"{os.path.join('build', 'demo', name)} agrees with halnet.safetensors" in out
    (age,) = (line for line in out.splitlines() if "age of the portrait (stored" in line)
    assert len({age.split()[-i] for i in (2, 4, 6)}) == 1  # all runtimes give the same age
    assert max(len(line.rstrip()) for line in out.splitlines()[3:]) <= 130
    assert (tmp_path / "build" / "demo" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("runtime", "library", "fixture", "file"),
    [
        ("onnxruntime", "onnxruntime", "onnx_artifact", ""),
        ("openvino", "openvino", "openvino_artifact", "halnet.xml"),
        ("litert", "ai_edge_litert", "litert_artifact", ""),
    ],
)
def test_a_program_without_halnet_can_use_an_artifact(
    runtime: str,
    library: str,
    fixture: str,
    file: str,
    crops: np.ndarray,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    pytest.importorskip(library)
    artifact = request.getfixturevalue(fixture) / file
    script = ROOT / "examples" / f"plain_{runtime}.py"
    assert "halnet" not in {line.split()[1] for line in imports(script)}
    np.save(tmp_path / "crops.npy", crops)
    done = subprocess.run(
        [sys.executable, script, artifact, tmp_path / "crops.npy"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = np.array([line.split() for line in done.stdout.splitlines()], float)
    with open_runtime(artifact, runtime) as opened:
        expected = opened.run(crops)
    np.testing.assert_allclose(found[:, 0], expected.age, atol=1e-3)
    np.testing.assert_allclose(found[:, 1], expected.stddev, atol=1e-3)


def imports(script: Path) -> list[str]:
    return [line for line in script.read_text().splitlines() if line.startswith(("import", "from"))]
