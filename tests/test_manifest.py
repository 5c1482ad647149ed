import json
from pathlib import Path

import pytest

from halnet.errors import ArtifactError
from halnet.manifest import record_artifact, record_parity


def test_entries_are_kept_and_parity_goes_with_its_file(tmp_path: Path) -> None:
    a, b = tmp_path / "a.onnx", tmp_path / "b.onnx"
    a.write_bytes(b"a")
    b.write_bytes(b"b")
    record_artifact(a, "onnx", "fp32", a, ("numpy",))
    manifest = record_artifact(b, "onnx", "fp16", a, ())
    assert record_parity(a, "crops", {"passed": True}) == manifest
    record_parity(a, "photos", {"passed": False})
    entries = json.loads(manifest.read_text())["artifacts"]
    assert entries["a.onnx"]["parity"] == {
        "crops": {"passed": True},
        "photos": {"passed": False},
    }
    assert entries["a.onnx"]["sha256"].startswith("ca978112")  # SHA-256 of "a"
    assert entries["b.onnx"]["parity"] == {}
    a.write_bytes(b"changed")
    assert record_parity(a, "crops", {"passed": False}) is None, "another file than the manifest's"
    record_artifact(a, "onnx", "fp32", a, ())
    assert json.loads(manifest.read_text())["artifacts"]["a.onnx"]["parity"] == {}
    assert record_parity(tmp_path / "other" / "c.onnx", "crops", {}) is None


def test_a_damaged_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ArtifactError, match="damaged; delete it and export again"):
        record_artifact(tmp_path / "a.onnx", "onnx", "fp32", tmp_path / "a.onnx", ())
