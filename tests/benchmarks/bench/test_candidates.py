"""Which models are timed, and why others are not."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from halnet.artifact import bundled, sha256_file
from halnet.benchmarks.bench import candidates
from halnet.benchmarks.bench.candidates import (
    Candidate,
    NotTimed,
    find_candidates,
    find_references,
    open_candidates,
)
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.fake import FakeRuntime

OPTIONS = RuntimeOptions(threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of an export: an artifact, a damaged one, an engine, and one that failed."""
    names = ("a.onnx", "damaged.onnx", "halnet.engine", "b.onnx.failed")
    entries = {name: {"sha256": "", "parity": {}} for name in names}
    (tmp_path / "manifest.json").write_text(json.dumps({"artifacts": entries}))
    return tmp_path


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, RuntimeOptions]]:
    """Open a fake runtime for each model, and record which were opened."""
    calls: list[tuple[Path, RuntimeOptions]] = []

    def open_fake(path: Path, options: RuntimeOptions) -> FakeRuntime:
        calls.append((path, options))
        if path.name == "damaged.onnx":
            raise ArtifactError(f"{path}: damaged")
        if path.suffix == ".engine":
            raise RuntimeUnavailableError("there is no GPU")
        return FakeRuntime(path)

    monkeypatch.setattr(candidates, "open_model", open_fake)
    return calls


def test_a_folder_stands_for_the_artifacts_of_its_manifest(folder: Path) -> None:
    found = find_candidates([folder, Path("own.onnx")], ["openvino", "onnxruntime"], OPTIONS)
    assert [(c.model.name, c.options.runtime, c.is_listed) for c in found] == [
        ("a.onnx", "openvino", True),
        ("a.onnx", "onnxruntime", True),
        ("damaged.onnx", "openvino", True),
        ("damaged.onnx", "onnxruntime", True),
        ("halnet.engine", "openvino", True),
        ("halnet.engine", "onnxruntime", True),
        ("own.onnx", "openvino", False),
        ("own.onnx", "onnxruntime", False),
    ]
    assert {c.options.threads for c in found} == {1}


def test_without_models_the_bundled_one_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = find_candidates([], ["openvino"], OPTIONS)
    assert (found.model.name, found.options.runtime) == ("halnet.onnx", "openvino")
    monkeypatch.setattr(candidates, "installed", lambda names, device: [])
    monkeypatch.setattr(candidates, "bundled_runtime", lambda device: "onnxruntime")
    assert [c.options.runtime for c in find_candidates([], [], OPTIONS)] == ["onnxruntime"]


def test_a_folder_without_artifacts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"artifacts": {}}')
    with pytest.raises(ArtifactError, match="that lists artifacts, found none; run halnet export"):
        find_candidates([tmp_path], [], OPTIONS)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"manifest\.json: damaged; delete it and export again"):
        find_candidates([tmp_path], [], OPTIONS)


def test_an_engine_of_a_folder_is_skipped_and_a_damaged_artifact_failed(folder: Path) -> None:
    with ExitStack() as stack:
        found = open_candidates(find_candidates([folder], [], OPTIONS), stack)
        assert [candidate.model.name for candidate, _ in found.pairs] == ["a.onnx"]
        damaged, engine = folder / "damaged.onnx", folder / "halnet.engine"
        assert found.failed == (NotTimed(str(damaged), "auto", f"{damaged}: damaged"),)
        assert found.skipped == (NotTimed(str(engine), "auto", "there is no GPU"),)
    runtime = found.pairs[0][1]
    with pytest.raises(ConfigError, match="used after close"):
        runtime.close() or runtime.check_open()  # type: ignore[attr-defined, func-returns-value]


def test_an_engine_that_is_named_by_itself_has_failed(folder: Path) -> None:
    named = find_candidates([folder / "a.onnx", folder / "halnet.engine"], [], OPTIONS)
    with ExitStack() as stack:
        found = open_candidates(named, stack)
    assert [entry.error for entry in found.failed] == ["there is no GPU"]
    assert found.skipped == ()


def test_candidates_none_of_which_can_be_opened_are_an_error() -> None:
    named = find_candidates([Path("damaged.onnx"), Path("x.engine")], [], OPTIONS)
    with pytest.raises(ArtifactError, match=r"^damaged\.onnx: damaged; there is no GPU$"):
        open_candidates(named, ExitStack()).check()


def test_a_folder_of_which_nothing_can_run_here_is_an_error(folder: Path) -> None:
    engines = [c for c in find_candidates([folder], [], OPTIONS) if c.model.suffix == ".engine"]
    with pytest.raises(RuntimeUnavailableError, match=r"^there is no GPU$"):
        open_candidates(engines, ExitStack()).check()


class OfCheckpoint(FakeRuntime):
    """A runtime whose model was made from a checkpoint, and that says it is another one."""

    def __init__(self, sha256: str, runtime: str = "onnxruntime") -> None:
        super().__init__()
        from dataclasses import replace

        metadata = replace(self.spec.metadata, checkpoint_sha256=sha256)
        self.spec = replace(self.spec, runtime=runtime, metadata=metadata)


def test_artifacts_of_a_folder_are_compared_with_their_checkpoint_in_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = bundled("halnet-accurate.safetensors")
    ours, other = OfCheckpoint(sha256_file(path)), OfCheckpoint("another")
    listed = Candidate(Path("a"), OPTIONS, True)
    alone = Candidate(Path("a"), OPTIONS, False)
    throughput = RuntimeOptions(threads=1, mode="throughput")

    def find(*pairs: tuple[Candidate, FakeRuntime]) -> list[Candidate]:
        return find_references(candidates.Opened(pairs, (), ()), throughput)

    monkeypatch.setattr(candidates, "installed", lambda names, device: names)
    wanted = Candidate(path, RuntimeOptions("pytorch", threads=1), True)
    assert find((listed, other), (listed, ours)) == [wanted]
    assert find((listed, other)) == [], "its checkpoint is not known"
    assert find((alone, ours)) == [], "only what is named is timed"
    pytorch = OfCheckpoint(sha256_file(path), "pytorch")
    assert find((listed, ours), (alone, pytorch)) == [], "it is timed already"
    monkeypatch.setattr(candidates, "installed", lambda names, device: [])
    assert find((listed, ours)) == [], "PyTorch is not installed"
