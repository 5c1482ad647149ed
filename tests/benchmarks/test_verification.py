"""Verification of several artifacts, with a verifier that knows what it will find."""

import json
from pathlib import Path

import pytest

from halnet.artifact import sha256_file
from halnet.benchmarks.parity import VerifyConfig
from halnet.benchmarks.verification import Verification, verify
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.evaluation.parity import TOLERANCES, Comparison, Parity

CONFIG = VerifyConfig(threads=2)


def parity(p99: float = 0.0) -> Parity:
    """Return the comparison of an FP32 artifact, which passes with a p99 of at most 0.01 years."""
    return Parity("some crops", "fp32", "fake 1, cpu", TOLERANCES["fp32"], Comparison(9, p99, p99))


class FakeVerifier:
    """A verifier by the name of the artifact."""

    calls: list[tuple[str, str, str]]
    photos = ()

    def __init__(self, config: VerifyConfig, on_progress: object) -> None:
        assert config == CONFIG
        FakeVerifier.calls = []

    def prepare(self) -> None:
        FakeVerifier.calls.append(("prepared", "", ""))

    def __call__(self, artifact: Path, runtime: str, device: str) -> Parity:
        FakeVerifier.calls.append((artifact.name, runtime, device))
        if artifact.suffix == ".engine":
            raise RuntimeUnavailableError("tensorrt is not installed")
        if not artifact.exists():
            raise ArtifactError(f"{artifact}: no such model file")
        return parity(0.5 if artifact.name == "bad.onnx" else 0.0)


@pytest.fixture(autouse=True)
def _fake_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("halnet.benchmarks.verification.Verifier", FakeVerifier)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of an export with two artifacts, an engine, and one that failed its check."""
    entries = {}
    for name in ("good.onnx", "bad.onnx", "halnet.engine", "halnet.fp16.onnx.failed"):
        (tmp_path / name).write_text(name)
        entries[name] = {"sha256": sha256_file(tmp_path / name), "parity": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": entries}))
    return tmp_path


def test_a_folder_stands_for_its_artifacts_that_can_run_here(folder: Path) -> None:
    result = verify([folder], CONFIG, "fake", "cpu")
    assert set(result.compared) == {folder / "good.onnx", folder / "bad.onnx"}
    assert result.skipped == {folder / "halnet.engine": "tensorrt is not installed"}
    assert result.passed is False, "bad.onnx is outside its tolerance"
    assert FakeVerifier.calls[0] == ("prepared", "", ""), "before the first artifact"
    assert sorted(FakeVerifier.calls[1:]) == [
        ("bad.onnx", "fake", "cpu"),
        ("good.onnx", "fake", "cpu"),
        ("halnet.engine", "fake", "cpu"),
    ]


def test_an_artifact_that_is_named_by_itself_must_run_here(folder: Path) -> None:
    result = verify([folder / "good.onnx", folder / "halnet.engine"], CONFIG)
    assert set(result.compared) == {folder / "good.onnx"}
    assert result.failed == {folder / "halnet.engine": "tensorrt is not installed"}
    assert not result.passed
    with pytest.raises(RuntimeUnavailableError, match="^tensorrt is not installed$"):
        verify([folder / "halnet.engine"], CONFIG)


@pytest.mark.parametrize("named", ["folder", "files"])
def test_a_missing_artifact_does_not_hide_the_others(named: str, folder: Path) -> None:
    (folder / "bad.onnx").unlink()
    paths = [folder] if named == "folder" else [folder / "bad.onnx", folder / "good.onnx"]
    result = verify(paths, CONFIG)
    assert set(result.compared) == {folder / "good.onnx"}
    assert result.failed == {folder / "bad.onnx": f"{folder / 'bad.onnx'}: no such model file"}
    assert not result.passed
    assert result.to_dict()["failed"] == {
        str(folder / "bad.onnx"): result.failed[folder / "bad.onnx"]
    }


def test_a_folder_of_which_nothing_can_run_here_is_an_error(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["artifacts"]["good.onnx"], manifest["artifacts"]["bad.onnx"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RuntimeUnavailableError, match="^tensorrt is not installed$"):
        verify([folder], CONFIG)


def test_a_missing_artifact_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no\.onnx: no such .*; .*none\.onnx: no such model"):
        verify([tmp_path / "no.onnx", tmp_path / "none.onnx"], CONFIG)


@pytest.mark.parametrize(("names", "passed"), [(["good"], True), (["good", "bad"], False)])
def test_all_artifacts_have_to_pass(names: list[str], passed: bool, folder: Path) -> None:
    result = verify([folder / f"{name}.onnx" for name in names], CONFIG)
    assert result.passed is passed


def test_the_comparisons_are_recorded_in_the_manifest(folder: Path) -> None:
    assert verify([folder], CONFIG).record() == []
    entries = json.loads((folder / "manifest.json").read_text())["artifacts"]
    passed = {name: entry["parity"].get("some crops", {}) for name, entry in entries.items()}
    assert passed["good.onnx"]["passed"] is True
    assert passed["bad.onnx"]["passed"] is False
    assert passed["bad.onnx"]["overall"]["p99"] == 0.5
    assert passed["halnet.engine"] == {}


def test_the_values_for_json(folder: Path) -> None:
    values = Verification({folder / "a.onnx": parity()}, {folder / "b.engine": "no GPU"}).to_dict()
    assert values == {
        "artifacts": {str(folder / "a.onnx"): parity().to_dict()},
        "left_out": {str(folder / "b.engine"): "no GPU"},
        "failed": {},
    }


def test_what_was_not_recorded_is_one_line_for_each_reason(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "copy.onnx").write_text("not listed")
    result = verify([folder, folder / "copy.onnx"], CONFIG)
    (line,) = result.record()
    manifest = folder / "manifest.json"
    assert line == (
        f"{folder / 'copy.onnx'}: the figures were not recorded: {manifest} does not list this "
        "file; export it again"
    )

    def refuse(path: Path) -> int:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("halnet.files._lock", refuse)
    (line,) = result.record()
    assert line.endswith(f": the figures were not recorded: {manifest}: Read-only file system")
    assert all(str(path) in line for path in result.compared)
