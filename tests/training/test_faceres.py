"""The import of faceres, on a file of the same form with random weights."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.errors import ArtifactError, ConfigError
from halnet.network.model import AgeNet
from halnet.training.config import TrainConfig
from halnet.training.faceres import load_faceres, read_tfjs, settle_norms
from halnet.training.initial_weights import parse_weights

WIDTHS = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
CONFIG = TrainConfig(backbone="mobilenet_v1")


def random_weights() -> dict[str, np.ndarray]:
    """Weights by name, in TensorFlow's layout, of a size that keeps the signal."""
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
    """The graph, operation by operation: SAME padding, BGR less the mean, ReLU6."""
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
def test_the_network_computes_what_the_graph_does(prepared: Path, tmp_path: Path) -> None:
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
    assert torch.equal(model.network.head[1].weight, head), "the head stays fresh"


@torch.no_grad()
def test_settled_norms_change_nothing_and_are_ready_to_train() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3)
    )
    norm = network[1]
    norm.bias.fill_(0.7)
    norm.weight.uniform_(0.5, 2)
    x = 5 + 3 * torch.randn(16, 3, 12, 12)
    before = network.eval()(x)
    settle_norms(network, x)
    torch.testing.assert_close(network.eval()(x), before)
    torch.testing.assert_close(network.train()(x), before)


def test_files_that_are_not_whole(tmp_path: Path) -> None:
    path = write(tmp_path, random_weights())
    data = (tmp_path / "faceres.bin").read_bytes()
    for damaged in (data[:-10], data + b"12", b""):
        (tmp_path / "faceres.bin").write_bytes(damaged)
        with pytest.raises(ArtifactError, match="not a whole TensorFlow.js model"):
            read_tfjs(path)
    for text in ("{", "{}", '{"weightsManifest": [{"paths": ["../x"], "weights": []}]}'):
        path.write_text(text)
        with pytest.raises(ArtifactError, match="npm package @vladmandic/human"):
            read_tfjs(path)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    weights = random_weights()
    images = torch.zeros(1, 3, 64, 64)
    path = write(tmp_path, weights)
    with pytest.raises(ConfigError, match="expected to train the backbone mobilenet_v1"):
        load_faceres(path, AgeNet().network, images)
    weights.pop("conv_pw_13_bn/batchnorm_1/sub")
    with pytest.raises(ArtifactError, match="not faceres: it has no .*conv_pw_13_bn"):
        load_faceres(write(tmp_path, weights), AgeNet(CONFIG).network, images)
