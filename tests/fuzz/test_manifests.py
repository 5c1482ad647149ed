import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halnet.export.manifest import (
    MANIFEST_FILE,
    check_manifest,
    describe_artifact,
    list_artifacts,
    record_artifacts,
    record_parity,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two artifacts that a manifest lists."""
    folder = tmp_path_factory.mktemp("deploy")
    paths = [folder / "halnet.onnx", folder / "halnet.fp16.onnx"]
    for path in paths:
        path.write_bytes(b"model")
    entries = {
        path.name: describe_artifact(path, {"precision": "fp32"}, ["numpy"]) for path in paths
    }
    record_artifacts(folder, entries)
    assert record_parity(paths[0], "test", {"delta_mae": 0.001}) == ""
    return folder


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Any:
    return json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))


@given(data=st.data())
def test_manifests(data: Any, fuzz: Any, folder: Path, manifest: Any) -> None:
    (folder / MANIFEST_FILE).write_bytes(data.draw(fuzz.json(manifest)))
    with fuzz.only_own_errors():
        check_manifest(folder)
    with fuzz.only_own_errors():
        assert all(path.parent == folder for path in list_artifacts(folder))
        for path in list_artifacts(folder):
            path.exists()
    with fuzz.only_own_errors():
        problem = record_parity(folder / "halnet.onnx", "more", {"delta_mae": 0.002})
        assert "\n" not in problem
        record_artifacts(folder, {"halnet.onnx": {"sha256": "0", "parity": {}}}, ["a"])
        check_manifest(folder)
