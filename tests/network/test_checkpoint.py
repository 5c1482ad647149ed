import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from halnet.artifact import sha256_file
from halnet.errors import ArtifactError
from halnet.network.checkpoint import load_checkpoint, load_config, save_checkpoint
from halnet.training.config import TrainConfig


def header(path: Path) -> dict[str, str]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length])["__metadata__"])


def test_round_trip(checkpoint: Path, tmp_path: Path) -> None:
    model, metadata = load_checkpoint(checkpoint)
    assert not model.training
    assert metadata.dataset == "synthetic"
    assert metadata.checkpoint_sha256 == sha256_file(checkpoint)
    assert load_config(checkpoint) == TrainConfig()
    copy = tmp_path / "copy.safetensors"
    save_checkpoint(copy, model, TrainConfig(seed=3), metadata)
    again, _ = load_checkpoint(copy)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert load_config(copy).seed == 3


def test_equal_content_is_equal_bytes_whatever_its_length(checkpoint: Path, tmp_path: Path) -> None:
    """Among 40 lengths of the header some begin like a pickle (0x80) in their first byte."""
    model, metadata = load_checkpoint(checkpoint)
    first_bytes = set()
    for extra in range(40):
        longer = replace(metadata, dataset="x" * (8 * extra))
        paths = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
        for path in paths:
            save_checkpoint(path, model, TrainConfig(), longer)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        first_bytes.add(paths[0].read_bytes()[0])
        assert load_checkpoint(paths[0]).metadata.dataset == longer.dataset
    assert 0x80 in first_bytes


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    plain = tmp_path / "a.safetensors"
    plain.write_bytes(pickle.dumps(Bomb()))
    zipped = tmp_path / "b.safetensors"
    torch.save(Bomb(), zipped)
    for path in (plain, zipped):
        with pytest.raises(ArtifactError, match="found a pickle, which could run code"):
            load_checkpoint(path)
    assert not (tmp_path / "executed").exists()


def test_damaged_and_foreign_files(checkpoint: Path, tmp_path: Path) -> None:
    data = checkpoint.read_bytes()
    bad = tmp_path / "bad.safetensors"
    for content in (b"", data[:100], data[: len(data) // 2], data[:-1], b"x" * 1000):
        bad.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"not a whole \.safetensors file"):
            load_checkpoint(bad)
    tensors, properties = load_file(checkpoint), header(checkpoint)
    save_file(tensors, bad)
    with pytest.raises(ArtifactError, match=r"found no halnet\.\* metadata"):
        load_checkpoint(bad)
    save_file({"x": torch.zeros(2)}, bad, properties)
    with pytest.raises(ArtifactError, match="not those of ca_mobilenet_v3"):
        load_checkpoint(bad)
    recipe = properties.pop("halnet.config")
    save_file(tensors, bad, properties)
    with pytest.raises(ArtifactError, match="no recipe in it"):
        load_checkpoint(bad)
    tensors["network.classifier.3.bias"][7] = float("nan")
    save_file(tensors, bad, {**properties, "halnet.config": recipe})
    with pytest.raises(ArtifactError, match="NaN or infinity"):
        load_checkpoint(bad)
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_checkpoint(tmp_path / "missing.safetensors")
