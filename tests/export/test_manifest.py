import json
import subprocess
from pathlib import Path

import pytest

from halnet.errors import ArtifactError
from halnet.export.manifest import list_artifacts, record_artifact, record_parity, remove_artifact


def test_entries_are_kept_and_parity_belongs_to_its_file(tmp_path: Path) -> None:
    a, b = tmp_path / "a.onnx", tmp_path / "b.onnx"
    a.write_bytes(b"a")
    b.write_bytes(b"b")
    record_artifact(a, {"precision": "fp32"}, ("numpy", "no-such-package"))
    manifest = record_artifact(b, {"precision": "fp16"}, ())
    assert record_parity(a, "crops", {"passed": True}) == manifest
    record_parity(a, "photos", {"passed": False})
    entries = json.loads(manifest.read_text())["artifacts"]
    assert entries["a.onnx"]["parity"] == {
        "crops": {"passed": True},
        "photos": {"passed": False},
    }
    assert entries["a.onnx"]["sha256"].startswith("ca978112")  # SHA-256 of "a"
    assert set(entries["a.onnx"]["versions"]) == {"halnet", "numpy"}
    assert (entries["b.onnx"]["parity"], entries["b.onnx"]["precision"]) == ({}, "fp16")
    (tmp_path / "c.onnx.failed").touch()
    record_artifact(tmp_path / "c.onnx.failed", {}, ())
    assert list_artifacts(tmp_path) == [a, b], "an artifact that failed is not listed"
    a.write_bytes(b"changed")
    assert record_parity(a, "crops", {"passed": False}) is None, (
        "not the file that the manifest lists"
    )
    record_artifact(a, {}, ())
    assert json.loads(manifest.read_text())["artifacts"]["a.onnx"]["parity"] == {}
    assert record_parity(tmp_path / "other" / "c.onnx", "crops", {}) is None


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ArtifactError, match="damaged; delete it and export again"):
        record_artifact(tmp_path / "a.onnx", {}, ())


def test_a_removed_artifact_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    record_artifact(tmp_path / "a.onnx", {}, ())
    remove_artifact(tmp_path / "a.onnx")
    remove_artifact(tmp_path / "b.onnx")
    with pytest.raises(ArtifactError, match="that lists artifacts, found none"):
        list_artifacts(tmp_path)


def test_a_folder_has_the_hash_of_its_listing(tmp_path: Path) -> None:
    """`cd folder && sha256sum * | sha256sum` prints the same."""
    folder = tmp_path / "halnet_openvino_model"
    folder.mkdir()
    (folder / "halnet.xml").write_bytes(b"a")
    (folder / "halnet.bin").write_bytes(b"bc")
    record_artifact(folder, {}, ())
    entry = json.loads((tmp_path / "manifest.json").read_text())["artifacts"][folder.name]
    printed = subprocess.run(
        "sha256sum * | sha256sum",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert entry["sha256"] == printed.stdout.split()[0]
    assert entry["bytes"] == 3
