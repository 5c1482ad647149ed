from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from halnet.artifact import bundled
from halnet.benchmarks.studies import raw_photos
from halnet.errors import ArtifactError
from halnet.results import Outputs
from halnet.runtimes.ort import OnnxRuntime

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with the portrait, and a photo that cannot be read."""
    data = bundled("portrait.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[:2000])
    return tmp_path


def run(photos: Path, model: Path, yunet: Path) -> tuple[int, list[str], str]:
    args = [str(model), "--photos", str(photos), "--detector", str(yunet)]
    done = CliRunner().invoke(raw_photos.main, args)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    row = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    return done.exit_code, row, done.output


def test_an_exact_model_passes(photos: Path, yunet: Path) -> None:
    status, row, output = run(photos, bundled("halnet.onnx"), yunet)
    assert (status, row[0], row[-1]) == (0, "halnet.onnx", "0.01")
    assert float(row[2]) <= float(row[3]) < 0.001
    assert output.count("cut.jpg") == 1
    assert "1 faces in 2 raw photos" in output


def test_a_model_with_other_ages_fails(
    photos: Path, yunet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = OnnxRuntime._infer

    def older(self: Any, crops: np.ndarray) -> Outputs:
        outputs = infer(self, crops)
        return replace(outputs, age=outputs.age + np.float32(0.25))

    monkeypatch.setattr(OnnxRuntime, "_infer", older)
    status, row, _ = run(photos, bundled("halnet.onnx"), yunet)
    assert status == 1
    assert float(row[3]) == pytest.approx(0.25, abs=0.001)


def test_a_model_of_another_checkpoint_is_refused(
    photos: Path, yunet: Path, onnx_artifact: Path
) -> None:
    with pytest.raises(ArtifactError, match="expected a model of .*, found one of another checkp"):
        run(photos, onnx_artifact, yunet)
