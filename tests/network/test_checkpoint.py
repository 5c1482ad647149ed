import base64
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from halnet.artifact import sha256_file
from halnet.errors import ArtifactError
from halnet.network.checkpoint import load_checkpoint, save_checkpoint
from halnet.runtimes.backends import open_runtime
from halnet.training.config import TrainConfig


def header(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length])["__metadata__"])


def test_a_checkpoint_is_read_as_it_was_written(checkpoint: Path, tmp_path: Path) -> None:
    first = load_checkpoint(checkpoint)
    assert first.path == checkpoint
    assert not first.model.training
    assert first.metadata.dataset == "synthetic"
    assert first.sha256 == first.metadata.checkpoint_sha256 == sha256_file(checkpoint)
    assert TrainConfig.from_json(first.recipe) == TrainConfig()
    path = tmp_path / "copy.safetensors"
    save_checkpoint(path, first.model, TrainConfig(seed=3).to_json(), first.metadata)
    second = load_checkpoint(path)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert TrainConfig.from_json(second.recipe).seed == 3
    assert second.metadata == replace(first.metadata, checkpoint_sha256=sha256_file(path))


@pytest.fixture
def odd_defaults() -> Iterator[None]:
    """What a program may have set: 16-bit tensors, on a device that computes nothing."""
    torch.set_default_dtype(torch.bfloat16)
    torch.set_default_device("meta")
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def test_defaults_of_the_program_do_not_change_a_checkpoint(
    checkpoint: Path, crops: np.ndarray, request: pytest.FixtureRequest
) -> None:
    with open_runtime(checkpoint, device="cpu") as runtime:
        expected = runtime.run(crops)
    request.getfixturevalue("odd_defaults")
    tensors = load_checkpoint(checkpoint).model.state_dict().values()
    assert {value.dtype for value in tensors} == {torch.float32, torch.int64}
    with open_runtime(checkpoint, device="cpu") as runtime, torch.autocast("cpu"):
        found = runtime.run(crops)
    np.testing.assert_array_equal(found.age, expected.age)
    assert found.probabilities.dtype == np.float32


def test_to_open_a_checkpoint_draws_no_random_numbers_of_the_program(checkpoint: Path) -> None:
    before = torch.get_rng_state()
    open_runtime(checkpoint, device="cpu").close()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_keeps_the_hashes_of_its_photos(checkpoint: Path, tmp_path: Path) -> None:
    first = load_checkpoint(checkpoint)
    path = tmp_path / "copy.safetensors"
    hashes = np.array([2**64 - 1, 3, 3, 2**63], np.uint64)
    save_checkpoint(path, first.model, first.recipe, first.metadata, hashes)
    found = load_checkpoint(path).trained_on
    assert found is not None
    assert found.dtype == np.uint64
    assert found.tolist() == [3, 2**63, 2**64 - 1]
    text = header(path)["halnet.trained_on"]
    assert base64.b64decode(text)[:8] == b"\3" + bytes(7), "the lowest byte comes first"
    save_checkpoint(path, first.model, first.recipe, first.metadata, hashes[:0])
    empty = load_checkpoint(path).trained_on
    assert empty is not None
    assert len(empty) == 0
    save_checkpoint(path, first.model, first.recipe, first.metadata)
    assert load_checkpoint(path).trained_on is None


def test_equal_content_gives_equal_bytes_for_each_length(checkpoint: Path, tmp_path: Path) -> None:
    """Some of 40 lengths of the header begin with 0x80, as a pickle does."""
    found = load_checkpoint(checkpoint)
    first_bytes = set()
    for extra in range(40):
        longer = replace(found.metadata, terms="x" * (8 * extra))
        paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
        for path in paths:
            save_checkpoint(path, found.model, found.recipe, longer)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        first_bytes.add(paths[0].read_bytes()[0])
        assert load_checkpoint(paths[0]).metadata.terms == longer.terms
    assert 0x80 in first_bytes


@pytest.mark.parametrize("zipped", [False, True], ids=["pickle", "torch.save"])
def test_a_pickle_is_refused_and_not_executed(zipped: bool, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    path = tmp_path / "a.safetensors"
    if zipped:
        torch.save(Bomb(), path)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtifactError, match="found a pickle, which can run code"):
        load_checkpoint(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("part", [0.0, 100, 0.5, -1, None])
def test_a_file_that_is_cut_off_or_no_checkpoint_is_refused(
    part: float | None, checkpoint: Path, tmp_path: Path
) -> None:
    data = checkpoint.read_bytes()
    length = int(len(data) * part) if isinstance(part, float) else part
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"x" * 1000 if length is None else data[:length])
    with pytest.raises(
        ArtifactError, match=r"expected a complete \.safetensors file, found damage"
    ):
        load_checkpoint(path)


def test_a_header_without_metadata_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    data = checkpoint.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:start]) | {"__metadata__": None}).encode()
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(len(header).to_bytes(8, "little") + header + data[start:])
    with pytest.raises(ArtifactError, match="expected a HAL-Net model, found no halnet"):
        load_checkpoint(bare)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    message = "the file cannot be read: No such file.*; name a checkpoint of halnet train"
    with pytest.raises(ArtifactError, match=message):
        load_checkpoint(tmp_path / "missing.safetensors")


@pytest.mark.parametrize("name", ["halnet.onnx", "halnet.fp16.engine", "halnet_openvino_model"])
def test_an_artifact_is_told_apart_from_a_damaged_checkpoint(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("_model"):
        path.mkdir()
    else:
        path.write_bytes(b"\x08\x08")
    message = r"expected a checkpoint \(\.safetensors\), found an artifact; name the checkpoint"
    with pytest.raises(ArtifactError, match=message):
        load_checkpoint(path)


def no_metadata(tensors: dict[str, Any], properties: dict[str, str]) -> None:
    properties.clear()


def other_weights(tensors: dict[str, Any], properties: dict[str, str]) -> None:
    tensors.clear()
    tensors["x"] = torch.zeros(2)


def no_recipe(tensors: dict[str, Any], properties: dict[str, str]) -> None:
    del properties["halnet.config"]


def unknown_backbone(tensors: dict[str, Any], properties: dict[str, str]) -> None:
    properties["halnet.config"] = '{"backbone": "alexnet"}'


def damaged_hashes(tensors: dict[str, Any], properties: dict[str, str]) -> None:
    properties["halnet.trained_on"] = "AAAA"


def no_base64(tensors: dict[str, Any], properties: dict[str, str]) -> None:
    properties["halnet.trained_on"] = "?" * 12


def not_finite(tensors: dict[str, Any], properties: dict[str, str]) -> None:
    tensors["network.classifier.3.bias"][7] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_metadata, r"found no halnet\.\* metadata"),
        (other_weights, "expected the weights of ca_mobilenet_v3, found others"),
        (no_recipe, "found a file without a training recipe"),
        (unknown_backbone, "backbone: expected one of .* found alexnet"),
        (damaged_hashes, "expected hashes of the photos .* found damage"),
        (no_base64, "expected hashes of the photos .* found damage"),
        (not_finite, "expected finite weights, found NaN or infinity"),
    ],
)
def test_foreign_content_is_refused(
    change: Any, message: str, checkpoint: Path, tmp_path: Path
) -> None:
    tensors, properties = load_file(checkpoint), header(checkpoint)
    change(tensors, properties)
    path = tmp_path / "bad.safetensors"
    save_file(tensors, path, properties or None)
    with pytest.raises(ArtifactError, match=message):
        load_checkpoint(path)
