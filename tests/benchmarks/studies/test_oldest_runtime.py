"""The study of the oldest runtimes, with a registry and installations that are made up."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from halnet.artifact import bundled, sha256_artifact
from halnet.benchmarks.studies import oldest_runtime
from halnet.benchmarks.studies.oldest_runtime import list_releases, main, run_model
from halnet.errors import ConfigError
from halnet.runtimes.backends import open_model

INDEX = "onnxruntime (1.4)\nAvailable versions: 1.4, 1.3, 1.2, 1.1, 1.0\n  LATEST: 1.4\n"


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A folder with a manifest and the bundled model under two names."""
    artifacts = {}
    for name in ("a.onnx", "b.onnx"):
        path = tmp_path / name
        path.write_bytes(bundled("halnet.onnx").read_bytes())
        artifacts[name] = {"sha256": sha256_artifact(path), "parity": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return tmp_path


def test_each_release_from_the_oldest_one_runs_the_file(
    deploy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1.3 has no wheel, 1.1 gives a wrong age, and 1.2 does not open b.onnx."""
    installed = []

    def pip(*arguments: str) -> str:
        if arguments[0] == "index":
            return INDEX
        installed.append(arguments[-1])
        if arguments[-1] == "onnxruntime==1.3":
            raise ConfigError("no wheel")
        return ""

    ages = {"1.4": 29.7465, "1.2": 29.7461, "1.1": 30.5}

    def run(package: str, model: Path, crops: Path, paths: Sequence[Path]) -> Any:
        assert (package, np.load(crops).shape) == ("onnxruntime", (1, 224, 224, 3))
        release = installed[-1].removeprefix("onnxruntime==")
        if model.name == "b.onnx" and release == "1.2":
            return None, "too new"
        return ages[release], ""

    monkeypatch.setattr(oldest_runtime, "_pip", pip)
    monkeypatch.setattr(oldest_runtime, "run_model", run)
    arguments = [str(deploy), "--package", "onnxruntime", "--json"]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    first, second = json.loads(done.stdout)
    assert (first["file"], first["release"], first["age"]) == ("a.onnx", "1.2", 29.7461)
    assert first["reason"] == "1.1: 30.5000 years"
    assert first["expected"] == pytest.approx(29.7463, abs=0.001)
    assert (second["file"], second["release"], second["reason"]) == (
        "b.onnx",
        "1.4",
        "1.2: too new",
    )
    assert installed[-1] == "onnxruntime==1.1", "no file is left to try with 1.0"
    assert "onnxruntime 1.3: left out: no wheel" in done.stderr


def test_a_model_is_run_with_the_packages_of_a_folder_alone(tmp_path: Path) -> None:
    crops = tmp_path / "crops.npy"
    np.save(crops, np.zeros((1, 224, 224, 3), np.uint8))
    model = bundled("halnet.onnx")
    absent = None, "ModuleNotFoundError: No module named 'numpy'"
    assert run_model("onnxruntime", model, crops, []) == absent
    here = [Path(np.__file__).parents[1]]
    with open_model(model) as runtime:
        expected = float(runtime.run(np.load(crops)).age[0])
    assert run_model("onnxruntime", model, crops, here) == (pytest.approx(expected, abs=0.001), "")
    age, reason = run_model("onnxruntime", crops, crops, here)
    assert age is None
    assert "InvalidProtobuf" in reason


def test_a_registry_without_an_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oldest_runtime, "_pip", lambda *arguments: "nothing")
    with pytest.raises(ConfigError, match="openvino: expected a list of releases, found none"):
        list_releases("openvino")
