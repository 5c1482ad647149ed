"""The programs in examples/, run as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_demo_where_no_detector_can_be_had(tmp_path: Path) -> None:
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
    assert "none.onnx: YuNet model cannot be read" in out
    assert "the landmarks stored beside the portrait are used instead" in out
    assert f"{os.path.join('build', 'demo', 'halnet.onnx')} agrees with halnet.safetensors" in out
    (age,) = (line for line in out.splitlines() if "age of the portrait (stored" in line)
    assert age.split()[-2] == age.split()[-4], "both runtimes print the same age"
    assert max(len(line.rstrip()) for line in out.splitlines()[3:]) <= 100
    assert (tmp_path / "build" / "demo" / "manifest.json").exists()
