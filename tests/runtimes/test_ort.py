"""ONNX files that must not be run."""

from pathlib import Path

import onnx
import pytest

from halnet.errors import ArtifactError
from halnet.runtimes import open_runtime


def change(artifact: Path, out: Path, **properties: str | None) -> Path:
    model = onnx.load(artifact)
    values = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in properties.items():
        values[f"halnet.{key}"] = value  # type: ignore[assignment]
    kept = {key: value for key, value in values.items() if value is not None}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, out)
    return out


def test_wrong_fingerprint(onnx_artifact: Path, tmp_path: Path) -> None:
    bad = change(onnx_artifact, tmp_path / "bad.onnx", input_fingerprint="0" * 16)
    with pytest.raises(ArtifactError, match="found 0000000000000000"):
        open_runtime(bad)


def test_without_metadata(onnx_artifact: Path, tmp_path: Path) -> None:
    bad = change(onnx_artifact, tmp_path / "bad.onnx", format_version=None)
    with pytest.raises(ArtifactError, match=r"found no halnet\.\* metadata"):
        open_runtime(bad)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_truncated(onnx_artifact: Path, tmp_path: Path, share: float) -> None:
    data = onnx_artifact.read_bytes()
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArtifactError, match="cannot load it"):
        open_runtime(bad)


@pytest.mark.parametrize("beside", [False, True])
def test_external_data(
    onnx_artifact: Path, tmp_path: Path, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused also where ONNX Runtime would find the weights: in the current folder."""
    bad = tmp_path / "bad.onnx"
    onnx.save(onnx.load(onnx_artifact), bad, save_as_external_data=True, location="weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size > 1e6
    if beside:
        monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="found weights in external data"):
        open_runtime(bad)


def test_other_outputs(onnx_artifact: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_artifact)
    del model.graph.output[1]
    bad = tmp_path / "bad.onnx"
    onnx.save(model, bad)
    with pytest.raises(ArtifactError, match="expected the input image .*found"):
        open_runtime(bad)
