"""OpenVINO IR folders, read with OpenVINO alone."""

import resource
from pathlib import Path

import numpy as np
import pytest

from halnet.artifact import sha256_file
from halnet.errors import ArtifactError
from halnet.export import ExportConfig, export
from halnet.runtimes.backends import open_runtime

ov = pytest.importorskip("openvino")


def test_the_folder_follows_the_contract(openvino_artifact: Path, checkpoint: Path) -> None:
    assert sorted(p.name for p in openvino_artifact.iterdir()) == ["halnet.bin", "halnet.xml"]
    model = ov.Core().read_model(openvino_artifact / "halnet.xml")
    (image,) = model.inputs
    assert image.any_name == "image"
    assert image.element_type == ov.Type.u8
    assert str(image.partial_shape) == "[?,224,224,3]"
    assert [port.any_name for port in model.outputs] == ["age", "stddev", "probabilities"]
    assert {port.element_type for port in model.outputs} == {ov.Type.f32}
    assert model.get_rt_info(["halnet", "precision"]).value == "fp32"
    stated = model.get_rt_info(["halnet", "checkpoint_sha256"]).value
    assert stated == sha256_file(checkpoint)
    constants = [op for op in model.get_ordered_ops() if op.get_type_name() == "Constant"]
    assert ov.Type.f16 not in {op.get_element_type() for op in constants}, "FP32 is not compressed"


def test_half_precision_needs_half_the_bytes(
    checkpoint: Path, openvino_artifact: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    config = ExportConfig(checkpoint, ("openvino",), ("fp16",), out=tmp_path)
    (exported,) = export(config)
    assert exported.path.name == "halnet_fp16_openvino_model"
    full = (openvino_artifact / "halnet.bin").stat().st_size
    assert (exported.path / "halnet.bin").stat().st_size < 0.55 * full
    with open_runtime(openvino_artifact) as one, open_runtime(exported.path) as other:
        assert other.spec.metadata.precision == "fp16"
        difference = np.abs(one.run(crops).age - other.run(crops).age)
    assert 1e-6 < difference.max() < 0.1


def test_a_full_disk_is_one_line(tmp_path: Path, openvino_artifact: Path) -> None:
    """The system refuses to write more than 10,000 bytes, as a full disk does."""
    from halnet.export.to_openvino import save_openvino

    model = ov.Core().read_model(openvino_artifact / "halnet.xml")
    metadata = open_runtime(openvino_artifact).spec.metadata
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(ArtifactError, match=r"could not write the model .* MB are free") as e:
            save_openvino(model, metadata, tmp_path / "halnet_openvino_model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(e.value)
