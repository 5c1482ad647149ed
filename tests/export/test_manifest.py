import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from halnet.errors import ArtifactError
from halnet.export.manifest import (
    check_manifest,
    describe_artifact,
    list_artifacts,
    record_artifacts,
    record_parity,
)


def record(path: Path, entry: Mapping[str, Any] = MappingProxyType({}), *packages: str) -> Path:
    """Record one artifact and return the path of the manifest."""
    return record_artifacts(path.parent, {path.name: describe_artifact(path, entry, packages)})


def test_entries_are_kept_and_parity_belongs_to_its_file(tmp_path: Path) -> None:
    a, b = tmp_path / "a.onnx", tmp_path / "b.onnx"
    a.write_bytes(b"a")
    b.write_bytes(b"b")
    record(a, {"precision": "fp32"}, "numpy", "no_such_module")
    manifest = record(b, {"precision": "fp16"})
    assert record_parity(a, "crops", {"passed": True}) == ""
    assert record_parity(a, "photos", {"passed": False}) == ""
    entries = json.loads(manifest.read_text())["artifacts"]
    assert entries["a.onnx"]["parity"] == {
        "crops": {"passed": True},
        "photos": {"passed": False},
    }
    assert entries["a.onnx"]["sha256"].startswith("ca978112")  # SHA-256 of "a"
    assert set(entries["a.onnx"]["versions"]) == {"halnet", "numpy"}
    assert (entries["b.onnx"]["parity"], entries["b.onnx"]["precision"]) == ({}, "fp16")
    (tmp_path / "c.onnx.failed").touch()
    record(tmp_path / "c.onnx.failed")
    assert list_artifacts(tmp_path) == [a, b], "an artifact that failed is not listed"
    a.write_bytes(b"changed")
    assert record_parity(a, "crops", {"passed": False}) == (
        f"{manifest} does not list this file; export it again"
    )
    record(a)
    assert json.loads(manifest.read_text())["artifacts"]["a.onnx"]["parity"] == {}
    assert record_parity(tmp_path / "other" / "c.onnx", "crops", {}) == "", "there is no manifest"


def test_a_manifest_that_cannot_be_written_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.onnx").touch()
    manifest = record(tmp_path / "a.onnx")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied", str(manifest))

    with monkeypatch.context() as patch:
        patch.setattr("halnet.export.manifest.editing", refuse)
        assert record_parity(tmp_path / "a.onnx", "x", {}) == f"{manifest}: Permission denied"
    manifest.write_text("{")
    assert record_parity(tmp_path / "a.onnx", "x", {}).startswith(f"{manifest}: damaged")


def test_two_programs_that_record_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """One thread records artifacts, the others comparisons of the first artifact."""
    first = tmp_path / "first.onnx"
    first.touch()
    manifest = record(first)
    others = [tmp_path / f"{number}.onnx" for number in range(20)]
    for path in others:
        path.touch()
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(record_parity, first, f"set {n}", {"passed": True}) for n in range(20)]
        done += [pool.submit(record, path) for path in others]
        for future in done:
            future.result()
    entries = json.loads(manifest.read_text())["artifacts"]
    assert set(entries) == {"first.onnx", *(path.name for path in others)}
    assert set(entries["first.onnx"]["parity"]) == {f"set {number}" for number in range(20)}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"artifacts": []}',
        '{"artifacts": {"a.onnx": 3}}',
        '{"artifacts": {"a.onnx": {"sha256": 1, "parity": {}}}}',
        '{"artifacts": {"a.onnx": {"sha256": "", "parity": []}}}',
        '{"artifacts": {"../a.onnx": {"sha256": "", "parity": {}}}}',
        '{"artifacts": {"..": {"sha256": "", "parity": {}}}}',
        '{"artifacts": {"a\\u0000b": {"sha256": "", "parity": {}}}}',
        f'{{"artifacts": {{"{"a" * 256}": {{"sha256": "", "parity": {{}}}}}}}}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_damaged_manifest_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="latin-1")
    (tmp_path / "a.onnx").touch()
    for use in (check_manifest, list_artifacts, lambda folder: record(folder / "a.onnx")):
        with pytest.raises(ArtifactError, match="damaged; delete it and export again"):
            use(tmp_path)
    assert (tmp_path / "manifest.json").read_text(encoding="latin-1") == content


def test_a_removed_artifact_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    record(tmp_path / "a.onnx")
    record_artifacts(tmp_path, {}, ["a.onnx", "b.onnx"])
    with pytest.raises(ArtifactError, match="that lists artifacts, found none"):
        list_artifacts(tmp_path)


def test_a_folder_has_the_hash_of_its_listing(tmp_path: Path) -> None:
    """`cd folder && sha256sum * | sha256sum` prints the same."""
    folder = tmp_path / "halnet_openvino_model"
    folder.mkdir()
    (folder / "halnet.xml").write_bytes(b"a")
    (folder / "halnet.bin").write_bytes(b"bc")
    record(folder)
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
    for foreign in (".DS_Store", "notes.txt"):
        (folder / foreign).write_text("of somebody else")
    (folder / ".ipynb_checkpoints").mkdir()
    assert describe_artifact(folder, {}, ()) == entry
    assert record_parity(folder, "crops", {"passed": True}) == ""
