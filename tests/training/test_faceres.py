"""The import of faceres, from a file of the same format with random weights."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from halnet.artifact import sha256_file
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError
from halnet.network.config import NetworkConfig
from halnet.network.model import AgeNet
from halnet.training import initial_weights
from halnet.training.faceres import load_faceres, read_tfjs, reset_norm_statistics
from halnet.training.initial_weights import parse_weights

WIDTHS = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
CONFIG = NetworkConfig(backbone="mobilenet_v1")


def random_weights() -> dict[str, np.ndarray]:
    """Weights by name, in the layout of TensorFlow, whose size keeps the signal."""
    rng = np.random.default_rng(0)

    def values(*shape: int, fan: int) -> np.ndarray:
        return rng.normal(0, np.sqrt(2 / fan), shape).astype(np.float16)

    weights = {"conv1/convolution/merged_input": values(3, 3, 3, 32, fan=27) / np.float16(64)}
    weights["conv1_bn/batchnorm_1/sub"] = values(32, fan=200)
    for i, (inputs, outputs) in enumerate(itertools.pairwise(WIDTHS), 1):
        weights[f"conv_dw_{i}/depthwise_kernel"] = values(3, 3, inputs, 1, fan=9)
        weights[f"conv_dw_{i}_bn/batchnorm_1/mul"] = 1 + values(inputs, fan=200)
        weights[f"conv_dw_{i}_bn/batchnorm_1/sub"] = values(inputs, fan=200)
        weights[f"conv_pw_{i}/convolution/merged_input"] = values(1, 1, inputs, outputs, fan=inputs)
        weights[f"conv_pw_{i}_bn/batchnorm_1/sub"] = values(outputs, fan=200)
    return weights


def write(folder: Path, weights: dict[str, np.ndarray]) -> Path:
    entries = [
        {
            "name": name,
            "shape": list(value.shape),
            "dtype": "float32",
            "quantization": {"dtype": "float16", "original_dtype": "float32"},
        }
        for name, value in weights.items()
    ]
    (folder / "faceres.bin").write_bytes(
        b"".join(v.astype("<f2").tobytes() for v in weights.values())
    )
    manifest = {"weightsManifest": [{"paths": ["faceres.bin"], "weights": entries}]}
    (folder / "faceres.json").write_text(json.dumps(manifest))
    return folder / "faceres.json"


def as_tensorflow(weights: dict[str, np.ndarray], images: np.ndarray) -> Tensor:
    """The operations of the graph: SAME padding, BGR minus the mean, ReLU6."""
    x = torch.from_numpy(images.astype(np.float32))[..., [2, 1, 0]]
    x = (x - torch.tensor([103.939, 116.779, 123.68])).permute(0, 3, 1, 2)

    def conv(x: Tensor, kernel: np.ndarray, stride: int, groups: int = 1) -> Tensor:
        size = kernel.shape[0]
        total = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[2:]]
        (top, left) = (n // 2 for n in total)
        x = F.pad(x, (left, total[1] - left, top, total[0] - top))
        weight = torch.from_numpy(kernel.astype(np.float32)).permute(3, 2, 0, 1)
        if groups > 1:
            weight = weight.permute(1, 0, 2, 3)
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def vector(name: str) -> Tensor:
        return torch.from_numpy(weights[name].astype(np.float32)).view(1, -1, 1, 1)

    x = conv(x, weights["conv1/convolution/merged_input"], 2)
    x = (x + vector("conv1_bn/batchnorm_1/sub")).clamp(0, 6)
    for i, stride in enumerate(STRIDES, 1):
        x = conv(x, weights[f"conv_dw_{i}/depthwise_kernel"], stride, x.shape[1])
        x = x * vector(f"conv_dw_{i}_bn/batchnorm_1/mul")
        x = (x + vector(f"conv_dw_{i}_bn/batchnorm_1/sub")).clamp(0, 6)
        x = conv(x, weights[f"conv_pw_{i}/convolution/merged_input"], 1)
        x = (x + vector(f"conv_pw_{i}_bn/batchnorm_1/sub")).clamp(0, 6)
    return x.mean((2, 3))


@torch.no_grad()
def test_the_network_computes_the_same_as_the_graph(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(initial_weights, "STATISTICS_PHOTOS", 16)
    weights = random_weights()
    path = write(tmp_path, weights)
    data = PreparedDataset(prepared)
    model = AgeNet(CONFIG)
    head = model.network.head[1].weight.clone()
    parse_weights(f"faceres:{path}").load(model, CONFIG.backbone, data)
    crops = data.inner_crops(data.select("train")[:3])
    features = model.eval().network.body(model.normalise(torch.from_numpy(crops)))
    expected = as_tensorflow(weights, crops)
    assert expected.std() > 0.05
    torch.testing.assert_close(features, expected, rtol=1e-2, atol=1e-3)
    assert torch.equal(model.network.head[1].weight, head), "the head keeps its weights"


@torch.no_grad()
def test_new_statistics_of_batch_norms_do_not_change_the_output() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3)
    )
    norm = network[1]
    norm.bias.fill_(0.7)
    norm.weight.uniform_(0.5, 2)
    x = 5 + 3 * torch.randn(16, 3, 12, 12)
    before = network.eval()(x)
    reset_norm_statistics(network, x)
    torch.testing.assert_close(network.eval()(x), before)
    torch.testing.assert_close(network.train()(x), before)


def test_the_hash_is_that_of_the_binary_file(tmp_path: Path) -> None:
    model = read_tfjs(write(tmp_path, {"x": np.float16([1, 2, 3])}))
    assert model.weights["x"].tolist() == [1, 2, 3]
    assert model.sha256 == sha256_file(tmp_path / "faceres.bin")


@pytest.mark.parametrize("damage", [lambda d: d[:-2], lambda d: d + b"12", lambda d: b""])
def test_a_damaged_binary_file_is_refused(damage: Any, tmp_path: Path) -> None:
    path = write(tmp_path, {"x": np.float16([1, 2, 3])})
    binary = tmp_path / "faceres.bin"
    binary.write_bytes(damage(binary.read_bytes()))
    with pytest.raises(ArtifactError, match="expected a complete TensorFlow.js model"):
        read_tfjs(path)


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"weightsManifest": [{"paths": ["../x"], "weights": []}]}', None]
)
def test_a_damaged_or_missing_graph_is_refused(text: str | None, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    path = tmp_path / "model" / "faceres.json"
    path.parent.mkdir()
    if text is not None:
        path.write_text(text)
    with pytest.raises(ArtifactError, match="npm package @vladmandic/human"):
        read_tfjs(path)


def test_another_backbone_is_refused(tmp_path: Path) -> None:
    model = read_tfjs(write(tmp_path, {"x": np.float16([1])}))
    with pytest.raises(ConfigError, match="expected the backbone mobilenet_v1, found another"):
        load_faceres(model, AgeNet().network, torch.zeros(1, 3, 64, 64))


def test_another_graph_is_refused(tmp_path: Path) -> None:
    weights = random_weights()
    weights.pop("conv_pw_13_bn/batchnorm_1/sub")
    model = read_tfjs(write(tmp_path, weights))
    with pytest.raises(ArtifactError, match="found a model without .*conv_pw_13_bn"):
        load_faceres(model, AgeNet(CONFIG).network, torch.zeros(1, 3, 64, 64))
