"""An export as a whole: what it leaves, what it never breaks, what it refuses."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from halnet.artifact import bundled, sha256_artifact, sha256_file
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.export import FORMATS, ExportConfig, Target, export
from halnet.files import staging
from halnet.network.checkpoint import load_checkpoint, save_checkpoint
from halnet.runtimes.backends import open_runtime
from halnet.training.config import TrainConfig


@dataclass(frozen=True)
class Found:
    """What a check could find."""

    passed: bool
    data: str = "nothing"

    def to_dict(self) -> dict[str, Any]:
        return {"passed": self.passed}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folders' rules testable without tracing: what is written does not matter there."""

    def write(graph: Any, metadata: Any, path: Path, target: Target) -> None:
        if path.name.endswith("_model"):
            path.mkdir()
            (path / "halnet.xml").write_text(f"new {metadata.precision}")
        else:
            path.write_text(f"new {metadata.precision}")
        if path.suffix == ".engine":
            path.with_name(path.name + ".json").write_text("new sidecar")

    monkeypatch.setattr("halnet.export._writer", lambda target: write)
    monkeypatch.setattr("halnet.export.to_onnx.trace", lambda *args: None)
    monkeypatch.setattr("halnet.export.graph.prepare", lambda model: model)


def test_every_format_and_precision_at_once(quick: None, tmp_path: Path) -> None:
    config = ExportConfig(
        formats=tuple(FORMATS), precisions=("fp32", "fp16"), out=tmp_path / "deep" / "deploy"
    )
    made = export(config, lambda path, runtime: Found(True))
    assert [exported.path.name for exported in made] == [
        "halnet.onnx",
        "halnet_openvino_model",
        "halnet.engine",
        "halnet.fp16.onnx",
        "halnet_fp16_openvino_model",
        "halnet.fp16.engine",
    ]
    assert set(tree(config.out)) == {
        "halnet.onnx",
        "halnet_openvino_model/halnet.xml",
        "halnet.engine",
        "halnet.engine.json",
        "halnet.fp16.onnx",
        "halnet_fp16_openvino_model/halnet.xml",
        "halnet.fp16.engine",
        "halnet.fp16.engine.json",
        "manifest.json",
    }
    entries = json.loads((config.out / "manifest.json").read_text())["artifacts"]
    checkpoint = sha256_file(bundled("halnet.safetensors"))
    for exported in made:
        entry = entries[exported.path.name]
        assert entry["sha256"] == sha256_artifact(exported.path) == exported.sha256
        assert entry["bytes"] == exported.size
        assert entry["checkpoint_sha256"] == checkpoint
        assert (entry["format"], entry["precision"]) == (exported.format, exported.precision)
        assert entry["parity"] == {"nothing": {"passed": True}}
        assert entry["batch"] == "dynamic"
        assert {"halnet", "torch", "onnx"} <= set(entry["versions"])


def test_one_that_failed_cannot_be_deployed_by_accident(quick: None, tmp_path: Path) -> None:
    for name in ("halnet.onnx", "halnet.engine"):
        (tmp_path / name).write_text("the one before")
    config = ExportConfig(formats=("onnx", "openvino", "tensorrt"), out=tmp_path)
    made = export(config, lambda path, runtime: Found(runtime == "openvino"))
    assert [exported.failed for exported in made] == [True, False, True]
    found = tree(tmp_path)
    assert found["halnet.onnx"] == found["halnet.engine"] == b"the one before"
    assert found["halnet.onnx.failed"] == found["halnet.engine.failed"] == b"new fp32"
    assert found["halnet.engine.failed.json"] == b"new sidecar"
    entries = json.loads(found["manifest.json"])["artifacts"]
    assert set(entries) == {"halnet.onnx.failed", "halnet_openvino_model", "halnet.engine.failed"}
    assert entries["halnet.onnx.failed"]["parity"]["nothing"] == {"passed": False}
    for name in ("halnet.onnx.failed", "halnet.engine.failed"):
        with pytest.raises(ArtifactError, match="expected a model whose name ends in"):
            open_runtime(tmp_path / name)
    export(config, lambda path, runtime: Found(True))
    assert set(json.loads((tmp_path / "manifest.json").read_text())["artifacts"]) == {
        "halnet.onnx",
        "halnet_openvino_model",
        "halnet.engine",
    }
    assert not list(tmp_path.glob("*.failed*"))


def test_what_could_not_be_checked_says_so(quick: None, tmp_path: Path) -> None:
    def check(path: Path, runtime: str) -> Found:
        raise RuntimeUnavailableError("there is no CUDA device")

    (exported,) = export(ExportConfig(formats=("tensorrt",), out=tmp_path), check)
    assert exported.path.name == "halnet.engine"
    assert not exported.failed
    entry = json.loads((tmp_path / "manifest.json").read_text())["artifacts"]["halnet.engine"]
    assert entry["unchecked"] == "there is no CUDA device"
    assert entry["parity"] == {}


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("where", ["second writer", "check"])
def test_an_export_that_stops_leaves_what_was_there(
    quick: None, failure: BaseException, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ExportConfig(formats=("onnx", "openvino"), out=tmp_path)
    export(config)
    before = tree(tmp_path)

    def fail(*args: Any) -> Any:
        raise failure

    if where == "second writer":
        from halnet.export import _writer

        write: Callable[..., None] = _writer(FORMATS["onnx"])
        monkeypatch.setattr(
            "halnet.export._writer",
            lambda target: fail if target.runtime == "openvino" else write,
        )
    with pytest.raises(type(failure)):
        export(config, fail if where == "check" else None)
    assert tree(tmp_path) == before


def test_a_killed_export_is_cleaned_up_by_the_next(quick: None, tmp_path: Path) -> None:
    left = tmp_path / ".halnet-staging-killed" / "halnet_openvino_model"
    left.mkdir(parents=True)
    (left / "halnet.bin").write_bytes(b"half")
    export(ExportConfig(out=tmp_path))
    assert set(tree(tmp_path)) == {"halnet.onnx", "manifest.json"}


def test_two_exports_into_one_folder(quick: None, tmp_path: Path) -> None:
    with (
        staging(tmp_path, "export"),
        pytest.raises(ConfigError, match="another export into this folder is under way"),
    ):
        export(ExportConfig(out=tmp_path))
    export(ExportConfig(out=tmp_path))


def test_a_folder_that_cannot_be_exchanged_keeps_the_old_one(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ExportConfig(formats=("openvino",), out=tmp_path)
    export(config)
    (tmp_path / "halnet_openvino_model" / "halnet.xml").write_text("the one before")
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if target == tmp_path / "halnet_openvino_model" and self.name == target.name:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="Input/output error"):
        export(config)
    assert tree(tmp_path)["halnet_openvino_model/halnet.xml"] == b"the one before"


def test_a_damaged_manifest_stops_before_anything_is_replaced(quick: None, tmp_path: Path) -> None:
    (tmp_path / "halnet.onnx").write_bytes(b"the one before")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged; delete it and export again"):
        export(ExportConfig(out=tmp_path))
    assert (tmp_path / "halnet.onnx").read_bytes() == b"the one before"


def test_a_place_where_nothing_can_be_written(quick: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists|Not a directory"):
        export(ExportConfig(out=tmp_path / "file"))


def test_weights_that_are_not_numbers(checkpoint: Path, tmp_path: Path) -> None:
    model, metadata = load_checkpoint(checkpoint)
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    bad = tmp_path / "bad.safetensors"
    save_checkpoint(bad, model, TrainConfig(), metadata)
    with pytest.raises(ArtifactError, match="its weights hold NaN or infinity"):
        export(ExportConfig(bad, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_wrong_requests(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"formats": ("onxx",)}, "format onxx: expected one of .*; did you mean onnx?"),
        ({"precisions": ("int4",)}, "precision int4: expected one of fp32, fp16"),
        ({"formats": ()}, "format: expected at least one of"),
        ({"batch": 0}, "batch: expected at least 1 or dynamic, found 0"),
        ({"target": Target((1, 2, 3))}, r"of the format tensorrt, .*\(found onnx\)"),
        (
            {"target": Target((1, 2, 3)), "formats": ("tensorrt",), "batch": 1},
            "a profile is for a dynamic batch",
        ),
    ]
    for values, message in cases:
        with pytest.raises(ConfigError, match=message):
            ExportConfig(**values)
    for batches in ((0, 1, 2), (1, 5, 4), (3, 2, 4)):
        with pytest.raises(ConfigError, match="batches: expected least, best and most"):
            Target(batches)
    with pytest.raises(ArtifactError, match="cannot be read"):
        export(ExportConfig(tmp_path / "none.safetensors", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_missing_library_names_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # what import sees of a missing package
    monkeypatch.delitem(sys.modules, "halnet.export.to_openvino", raising=False)
    with pytest.raises(
        RuntimeUnavailableError, match=r"openvino is not .*'halnet\[export,openvino\]'"
    ):
        export(ExportConfig(formats=("openvino",), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_real_thing_passes_its_own_check(
    checkpoint: Path, onnx_artifact: Path, openvino_artifact: Path, tmp_path: Path
) -> None:
    from halnet.benchmarks.parity import Verifier, VerifyConfig

    verifier = Verifier(VerifyConfig(checkpoint))
    for artifact in (onnx_artifact, openvino_artifact):
        parity = verifier(artifact)
        assert parity.passed
        assert 0 < parity.overall.maximum < 0.01
    folder = shutil.copytree(openvino_artifact, tmp_path / "halnet_openvino_model")
    weights = bytearray((folder / "halnet.bin").read_bytes())
    weights[len(weights) // 2 : len(weights) // 2 + 4000] = bytes(4000)
    (folder / "halnet.bin").write_bytes(weights)
    assert not verifier(folder).passed
    assert onnx.load(onnx_artifact).graph.node
