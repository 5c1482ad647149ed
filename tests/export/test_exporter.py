"""An export as a whole: what it writes, what it never breaks, and what it refuses."""

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from halnet.artifact import (
    PACKAGE_FILES,
    WEB_FILES,
    Metadata,
    bundled,
    sha256_artifact,
    sha256_file,
)
from halnet.calibration.crops import CalibrationCrops
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.export import FORMATS, ExportConfig, Int8Config, Target, export
from halnet.export.formats import Format
from halnet.export.oldest import opens_with
from halnet.network.checkpoint import load_checkpoint, save_checkpoint
from halnet.placing import staging
from halnet.runtimes.backends import open_runtime

PACKAGES = ("halnet.mlpackage", "halnet.fp16.mlpackage")


@dataclass(frozen=True)
class Found:
    """The verdict of a check."""

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


def write(graph: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a few bytes in the place of an artifact."""
    inside = {name: line.inside for line in FORMATS.values() for name in line.file_names.values()}
    if inside[path.name]:
        path.mkdir()
        for name in inside[path.name]:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(f"new {metadata.precision}")
    else:
        path.write_text(f"new {metadata.precision}")
    if path.name.endswith((".engine", ".compiler.onnx")):
        path.with_name(path.name + ".json").write_text("new sidecar")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test what happens to the folder without tracing: the content of the files does not matter."""
    monkeypatch.setattr(Format, "load_writer", lambda self: write)
    monkeypatch.setattr(Format, "check_target", lambda self, target, precisions: None)
    tracers = SimpleNamespace(trace=lambda *args: None)
    for name in {line.tracer for line in FORMATS.values()}:
        monkeypatch.setitem(sys.modules, f"halnet.export.{name}", tracers)
    monkeypatch.setattr("halnet.export.graph.simplify", lambda model: model)
    crops = SimpleNamespace(calibration=CalibrationCrops(np.zeros((1, 2, 2, 3), np.uint8), {}))
    monkeypatch.setattr("halnet.export.samples.find_samples", lambda *args: crops)


def test_every_format_and_precision_at_once(quick: None, tmp_path: Path) -> None:
    config = ExportConfig(
        formats=tuple(name for name in FORMATS if name != "compiler"),
        precisions=("fp32", "fp16"),
        out=tmp_path / "deep" / "deploy",
    )
    made = export(config, lambda path, runtime: Found(True))
    assert [exported.path.name for exported in made] == [
        "halnet.onnx",
        "halnet_openvino_model",
        "halnet.engine",
        "halnet.tflite",
        "halnet.mlpackage",
        "halnet_web",
        "halnet.fp16.onnx",
        "halnet_fp16_openvino_model",
        "halnet.fp16.engine",
        "halnet.fp16.tflite",
        "halnet.fp16.mlpackage",
        "halnet_fp16_web",
    ]
    assert set(tree(config.out)) == {
        "halnet.onnx",
        "halnet_openvino_model/halnet.bin",
        "halnet_openvino_model/halnet.xml",
        "halnet.engine",
        "halnet.engine.json",
        "halnet.fp16.onnx",
        "halnet_fp16_openvino_model/halnet.bin",
        "halnet_fp16_openvino_model/halnet.xml",
        "halnet.fp16.engine",
        "halnet.fp16.engine.json",
        "halnet.tflite",
        "halnet.fp16.tflite",
        *(f"{name}/{file}" for name in PACKAGES for file in PACKAGE_FILES),
        *(f"{folder}/{name}" for folder in ("halnet_web", "halnet_fp16_web") for name in WEB_FILES),
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
        assert entry["batch"] == (1 if exported.format == "coreml" else "dynamic")
        assert entry["opens_with"] == opens_with(exported.format, exported.precision)
        assert {"halnet", "torch"} <= set(entry["versions"])
        assert ("onnx" in entry["versions"]) == (exported.format not in ("litert", "coreml"))


def test_a_file_for_compilers_lies_beside_its_sidecar_and_its_crops(
    quick: None, tmp_path: Path
) -> None:
    config = ExportConfig(formats=("compiler",), out=tmp_path)
    (exported,) = export(config, lambda path, runtime: Found(runtime == "onnxruntime"))
    beside = {f"{exported.path.name}{end}" for end in ("", ".json", ".crops.npy", ".crops.json")}
    assert set(tree(tmp_path)) == {*beside, "manifest.json"}
    export(config, lambda path, runtime: Found(False))
    failed = {name.replace(".onnx", ".onnx.failed") for name in beside}
    assert set(tree(tmp_path)) == {*beside, *failed, "manifest.json"}


def test_a_package_for_apple_is_not_checked_and_says_why(quick: None, tmp_path: Path) -> None:
    from halnet.benchmarks.parity import Verifier, VerifyConfig
    from halnet.benchmarks.verification import verify

    check = Verifier(VerifyConfig())
    (exported,) = export(ExportConfig(formats=("coreml",), out=tmp_path), check)
    assert exported.verdict is None
    assert exported.unchecked.startswith("halnet.mlpackage is a Core ML model")
    with pytest.raises(RuntimeUnavailableError, match="Apple's systems alone"):
        verify([tmp_path], VerifyConfig())


def test_an_artifact_that_failed_is_kept_under_another_name(quick: None, tmp_path: Path) -> None:
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


def test_the_manifest_states_why_an_artifact_was_not_checked(quick: None, tmp_path: Path) -> None:
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
def test_an_export_that_stops_leaves_the_folder_as_it_was(
    quick: None, failure: BaseException, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ExportConfig(formats=("onnx", "openvino"), out=tmp_path)
    export(config)
    before = tree(tmp_path)

    def fail(*args: Any) -> Any:
        raise failure

    if where == "second writer":
        monkeypatch.setattr(
            Format, "load_writer", lambda self: fail if self.runtime == "openvino" else write
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


def test_a_second_export_into_the_same_folder_is_refused(quick: None, tmp_path: Path) -> None:
    with (
        staging(tmp_path, "export"),
        pytest.raises(ConfigError, match="another export"),
    ):
        export(ExportConfig(out=tmp_path))
    export(ExportConfig(out=tmp_path))


@pytest.mark.parametrize("failing", ["halnet.xml", "manifest.json"])
def test_either_all_artifacts_are_placed_or_none(
    quick: None, failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ExportConfig(formats=("onnx", "openvino", "tensorrt"), out=tmp_path)
    export(config)
    for path in tmp_path.rglob("halnet*.*"):
        path.write_text("the one before") if path.is_file() else None
    before = tree(tmp_path)
    move = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target.name == failing and not self.read_text().startswith("the one before"):
            raise OSError(5, "Input/output error")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="Input/output error"):
        export(replace(config, batch=2))
    assert tree(tmp_path) == before


def test_a_format_that_is_named_twice_is_written_once(quick: None, tmp_path: Path) -> None:
    made = export(ExportConfig(formats=("onnx", "openvino", "onnx"), out=tmp_path))
    assert [exported.path.name for exported in made] == ["halnet.onnx", "halnet_openvino_model"]


def test_links_in_the_places_of_artifacts_are_followed(quick: None, tmp_path: Path) -> None:
    disk, out = tmp_path / "disk", tmp_path / "out"
    out.symlink_to(disk / "deploy")
    (disk / "deploy").mkdir(parents=True)
    (disk / "large").mkdir()
    (out / "halnet.onnx").symlink_to(disk / "large.onnx")  # there is no such file yet
    (out / "halnet_openvino_model").symlink_to(disk / "large")
    (disk / "large" / "notes.txt").write_text("mine")
    export(ExportConfig(formats=("onnx", "openvino"), out=out))
    assert (out / "halnet.onnx").is_symlink()
    assert (out / "halnet_openvino_model").is_symlink()
    assert tree(disk) == {
        "deploy/halnet.onnx": b"new fp32",
        "deploy/manifest.json": (out / "manifest.json").read_bytes(),
        "large.onnx": b"new fp32",
        "large/halnet.bin": b"new fp32",
        "large/halnet.xml": b"new fp32",
        "large/notes.txt": b"mine",
    }
    entries = json.loads((out / "manifest.json").read_text())["artifacts"]
    for name in ("halnet.onnx", "halnet_openvino_model"):
        assert entries[name]["sha256"] == sha256_artifact(out / name)


def test_a_damaged_manifest_stops_before_anything_is_replaced(quick: None, tmp_path: Path) -> None:
    (tmp_path / "halnet.onnx").write_bytes(b"the one before")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged; delete it and export again"):
        export(ExportConfig(out=tmp_path))
    assert (tmp_path / "halnet.onnx").read_bytes() == b"the one before"


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file", "expected a folder, found that .*file is a file; name another folder"),
        (".", r"halnet\.onnx: expected a file that can be written, found a folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    quick: None, out: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "halnet.onnx").mkdir()
    lines: list[str] = []
    with pytest.raises(ConfigError, match=message):
        export(ExportConfig(out=tmp_path / out), None, lines.append)
    assert not lines


def test_weights_that_are_not_finite_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    with torch.no_grad():
        next(loaded.model.parameters())[0] = float("nan")
    bad = tmp_path / "bad.safetensors"
    save_checkpoint(bad, loaded.model, loaded.recipe, loaded.metadata)
    with pytest.raises(ArtifactError, match="NaN or infinity"):
        export(ExportConfig(bad, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_missing_checkpoint_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="none.safetensors"):
        export(ExportConfig(tmp_path / "none.safetensors", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"int8": Int8Config(keep=("features.0.0", "features.2.block.0"))},
            r"--keep-float features\.2\.block\.0: expected none or the name of one of the \d\d "
            r"layers of the network; the nearest names are .*features\.2\.block\.0\.0, ",
        ),
        (
            {"int8": Int8Config(keep=("stem",))},
            r"--keep-float stem: expected .*; the nearest names are (\S+, ){4}\S+$",
        ),
        (
            {"formats": ("onnx", "tensorrt"), "target": Target(capabilities=("SM86", "SM99"))},
            "capability SM99: expected one of SM75, SM80.* tensorrt_rtx",
        ),
        (
            {"formats": ("onnx", "tensorrt"), "target": Target(capabilities=("SM75",))},
            "capability SM75: expected one of SM80, SM86, SM89, SM120 for fp32; leave out "
            "--precision fp32, or name another --capability",
        ),
    ],
)
def test_a_wrong_name_is_found_before_the_work(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    if "formats" in options:
        pytest.importorskip("tensorrt_rtx")
    lines: list[str] = []
    config = ExportConfig(precisions=("fp32", "int8"), out=tmp_path / "out", **options)
    with pytest.raises(ConfigError, match=message) as found:
        export(config, None, lines.append)
    assert "\n" not in str(found.value)
    assert not lines, "no step had begun"
    assert not (tmp_path / "out").exists()


def test_a_capability_of_the_precision_is_accepted() -> None:
    pytest.importorskip("tensorrt_rtx")
    FORMATS["tensorrt"].check_target(Target(capabilities=("SM75", "SM86")), ("fp16",))


@pytest.mark.parametrize(
    ("missing", "importer", "options", "message"),
    [
        ("torch", "to_onnx", {}, r"needs torch, .*'halnet\[export\]'"),
        ("onnx", "to_onnx", {}, r"needs onnx, .*'halnet\[export\]'"),
        ("onnxscript", "to_onnx", {}, r"needs onnxscript, .*'halnet\[export\]'"),
        (
            "openvino",
            "to_openvino",
            {"formats": ("openvino",)},
            r"needs openvino, .*'halnet\[export,openvino\]'",
        ),
        (
            "tensorrt_rtx",
            "to_tensorrt",
            {"formats": ("tensorrt",)},
            r"tensorrt.* not installed; .*'halnet\[tensorrt-rtx\]'",
        ),
        (
            "onnxruntime",
            "int8",
            {"precisions": ("int8",)},
            r"--precision int8 needs onnxruntime, .*'halnet\[export,onnxruntime\]'",
        ),
        (
            "matplotlib",
            "int8",
            {"precisions": ("int8",), "int8": Int8Config(sensitivity=True)},
            r"--sensitivity needs matplotlib, .*'halnet\[report\]'",
        ),
    ],
)
def test_a_missing_library_is_found_before_the_work(
    missing: str,
    importer: str,
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # import then raises ModuleNotFoundError
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # the other library for engines
    monkeypatch.delitem(sys.modules, f"halnet.export.{importer}", raising=False)
    lines: list[str] = []
    with pytest.raises(RuntimeUnavailableError, match=message):
        export(ExportConfig(**options, out=tmp_path / "out"), None, lines.append)
    assert not lines, "no step had begun"
    assert not (tmp_path / "out").exists()


def test_openvino_in_floating_point_needs_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for module in ("halnet.export.to_openvino", "halnet.calibration.sessions"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert callable(FORMATS["openvino"].load_writer())


def test_real_artifacts_pass_their_check_and_a_damaged_one_does_not(
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
