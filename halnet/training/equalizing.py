"""Equalizing: gives the channels of a network similar ranges before it is trained for INT8.

The export does the same with the traced graph (see `halnet.calibration.equalization`). A network
that is trained for integers learns weights that fit the steps of its integers. Those steps depend
on the factors of the channels, so they are applied before the training, and the export leaves the
channels of such a checkpoint as they are.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from halnet.calibration.equalization import find_factors
from halnet.calibration.layers import find_layers
from halnet.export.graph import simplify
from halnet.export.to_onnx import trace
from halnet.network.model import AgeNet
from halnet.runtimes.base import Crops


@torch.no_grad()
def equalize_network(model: AgeNet, crops: Crops) -> int:
    """Scale the channels of a network in place, so that they have similar ranges.

    The network gives the same ages. The ranges are measured on `crops`, N x 224 x 224 x 3 uint8
    RGB. Returns how many groups of tensors were scaled.
    """
    proto = trace(simplify(model))
    names = {node: layer.name for layer in find_layers(proto) for node in layer.nodes}
    modules = dict(model.network.named_modules())
    count = 0
    for group, factors in find_factors(proto, crops):
        producers = [_find_outputs(modules, names[node.name]) for node in group.producers]
        consumers = [modules.get(names[node.name]) for node in group.consumers]
        if not all(producers) or not all(isinstance(layer, nn.Conv2d) for layer in consumers):
            continue  # the export has replaced one of them by another module
        scale = torch.from_numpy(factors).float()
        for tensor in (tensor for tensors in producers for tensor in tensors):
            tensor.div_(scale.view(-1, *[1] * (tensor.ndim - 1)))
        for layer in consumers:
            _scale_inputs(layer, scale)
        count += 1
    return count


def _find_outputs(modules: dict[str, nn.Module], name: str) -> Sequence[Tensor]:
    """Return the parameters that scale the outputs of a convolution; empty if it is not found.

    They are those of the batch norm that follows it, or else its own weights and bias.
    """
    layer: Any = modules.get(name)
    if not isinstance(layer, nn.Conv2d):
        return []
    parent, _, place = name.rpartition(".")
    following = modules.get(f"{parent}.{int(place) + 1}") if place.isdecimal() else None
    owner: Any = following if isinstance(following, nn.BatchNorm2d) else layer
    return [tensor for tensor in (owner.weight, owner.bias) if tensor is not None]


def _scale_inputs(layer: Any, scale: Tensor) -> None:
    """Multiply the weights of a convolution by a factor for each channel of its input."""
    is_depthwise = layer.groups > 1
    layer.weight.mul_(scale.view(-1, 1, 1, 1) if is_depthwise else scale.view(1, -1, 1, 1))
