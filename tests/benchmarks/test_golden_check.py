import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet.artifact import bundled, sha256_file
from halnet.benchmarks.golden_check import check_golden
from halnet.commands import group, run
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.results import Outputs
from halnet.runtimes.ort import OnnxRuntime

pytest.importorskip("onnxruntime")

GOLDEN = Path(__file__).parents[2] / "docs" / "golden"
MODEL = bundled("halnet.onnx")
Capture = pytest.CaptureFixture[str]


def verify(*args: object) -> int:
    return run(group, ["verify", *map(str, args), "--golden", str(GOLDEN)])


def test_a_model_of_the_same_checkpoint_passes(capsys: Capture) -> None:
    assert verify(MODEL, "--runtime", "onnxruntime") == 0
    assert f"{MODEL}: gives the golden ages of {GOLDEN} (onnxrunt" in capsys.readouterr().out
    assert verify(MODEL, "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["passed"]) == [str(MODEL)]


def test_other_ages_give_the_status_1(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    infer = OnnxRuntime._infer

    def older(self: Any, crops: np.ndarray) -> Outputs:
        outputs = infer(self, crops)
        return replace(outputs, age=outputs.age + np.float32(0.25))

    monkeypatch.setattr(OnnxRuntime, "_infer", older)
    assert verify(MODEL, "--runtime", "onnxruntime") == 1
    out = capsys.readouterr().out
    assert f"{MODEL}: FAILED: " in out
    assert "expected the golden age within 0.001, found" in out
    assert "differs by 0.25" in out


def test_another_model_is_refused(onnx_artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="found those of halnet.onnx, whose checkpoint has"):
        check_golden([onnx_artifact], GOLDEN)


def test_a_folder_without_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"a folder of golden vectors with golden\.json"):
        check_golden([MODEL], tmp_path)


def test_a_model_that_cannot_run_here_is_skipped_if_its_folder_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / MODEL.name
    path.write_bytes(MODEL.read_bytes())
    entries = {path.name: {"sha256": sha256_file(path), "parity": {}}}
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": entries}))

    def refuse(*args: object) -> None:
        raise RuntimeUnavailableError("it is not installed")

    monkeypatch.setattr("halnet.benchmarks.golden_check.open_model", refuse)
    found = check_golden([tmp_path], GOLDEN)
    assert (found.skipped, found.passed) == ({path: "it is not installed"}, {})
    with pytest.raises(RuntimeUnavailableError):
        check_golden([path], GOLDEN)


def test_the_checkpoint_and_golden_vectors_exclude_each_other(capsys: Capture) -> None:
    assert verify(MODEL, "--data", "aaf") == 2
    assert "leave out --checkpoint and --data, or --golden" in capsys.readouterr().err
