import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from halnet.ages import AgeCalibration
from halnet.artifact import Metadata, TrainedSet
from halnet.evaluation.unseen import read_hashes
from halnet.network.backbones import BACKBONES, Backbone, FeatureLayers
from halnet.network.checkpoint import load_checkpoint, save_checkpoint
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.runtimes.backends import describe
from halnet.training.config import TrainConfig

METADATA = Metadata(AgeCalibration(1.0, (1.0,) * 99), (TrainedSet("synthetic", "ab" * 32),))


@pytest.fixture(scope="module", autouse=True)
def tiny_backbone() -> Any:
    """The name of a network of one layer, so that checkpoints are small."""

    def build(outputs: int, dropout: float) -> Backbone:
        network = torch.nn.Sequential(
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(3, outputs),
        )
        return Backbone(network, FeatureLayers("", "", ""))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", build)
        yield "tiny"


@pytest.fixture(scope="module")
def content(tiny_backbone: str, fuzz: Any) -> bytes:
    path = fuzz.folder / "original.safetensors"
    recipe = TrainConfig(backbone=tiny_backbone).to_json()
    hashes = np.arange(5, dtype=np.uint64)
    save_checkpoint(path, AgeNet(NetworkConfig(tiny_backbone)), recipe, METADATA, hashes)
    load_checkpoint(path)
    return bytes(path.read_bytes())


def use(path: Path, fuzz: Any) -> None:
    with fuzz.only_own_errors():
        describe(path)
    with fuzz.only_own_errors():
        read_hashes(path)
    with fuzz.only_own_errors():
        checkpoint = load_checkpoint(path)
        TrainConfig.from_json(checkpoint.recipe)
        with torch.inference_mode():
            checkpoint.model(torch.zeros(1, 8, 8, 3, dtype=torch.uint8))


@given(data=st.data())
def test_damaged_checkpoints(data: Any, fuzz: Any, content: bytes) -> None:
    path = fuzz.folder / "model.safetensors"
    path.write_bytes(data.draw(fuzz.bytes(content)))
    use(path, fuzz)


@given(data=st.data())
def test_hostile_headers(data: Any, fuzz: Any, content: bytes) -> None:
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    if data.draw(st.booleans()):  # the recipe, which is JSON inside of JSON
        recipe = data.draw(fuzz.json(json.loads(header["__metadata__"]["halnet.config"])))
        header["__metadata__"]["halnet.config"] = recipe.decode("utf-8", "replace")
        text = json.dumps(header).encode()
    else:
        text = data.draw(fuzz.json(header))
    path = fuzz.folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[start:])
    use(path, fuzz)
