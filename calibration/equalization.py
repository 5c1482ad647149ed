"""Equalization: gives the channels of a tensor similar ranges without changing the mathematics.

A tensor has one scale for all its channels, so a channel with a wide range wastes the integers of
the others. Where only sums, means, ReLU and gates are between two convolutions, the first can make
each channel smaller by a factor and the second larger by the same factor [Nagel et al., ICCV 2019,
section 4.1]. How much of the difference between the channels moves into the weights of the second
convolution is balanced as in SmoothQuant [Xiao et al., ICML 2023, equation 4].
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from halnet.artifact import INPUT_NAME
from halnet.calibration.crops import BATCH, full_batches
from halnet.calibration.layers import count_groups
from halnet.calibration.sessions import batch_size, open_session, with_outputs
from halnet.runtimes.base import Crops

Channels = NDArray[np.float64]  # one value for each channel
Weights = dict[str, Any]  # name: ONNX tensor

BALANCE = 0.5  # 1: the weights take all differences between channels; 0: the activations do
MIN_FACTOR = 0.01  # of the largest factor: a channel that is hardly used is not scaled further
# Operations that keep a channel's positive factor, as max(0, f x) = f max(0, x).
CHANNELWISE = ("Relu", "Add", "AveragePool", "GlobalAveragePool")
GATES = ("Sigmoid", "HardSigmoid")


@dataclass
class Group:
    """Tensors whose channels can only be scaled together, and the convolutions around them."""

    tensors: list[str] = field(default_factory=list)  # without the inputs of a ReLU
    producers: list[Any] = field(default_factory=list)  # convolutions that compute one of them
    consumers: list[Any] = field(default_factory=list)  # convolutions that read one of them
    closed: bool = True  # no other operation computes or reads one of them

    @property
    def scalable(self) -> bool:
        """Whether factors can move from the producers to the consumers."""
        return self.closed and bool(self.producers and self.consumers)


class _Union:
    """Disjoint sets of tensor names. Each set is known by one of its names."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def find(self, name: str) -> str:
        """Return the name that the set of `name` is known by."""
        while self._parents.setdefault(name, name) != name:
            name = self._parents[name]
        return name

    def join(self, first: str, second: str) -> None:
        """Make one set of two; it is known by the name of the second."""
        self._parents[self.find(first)] = self.find(second)


def equalize(proto: Any, crops: Crops) -> Any:
    """Return a traced graph that gives the same ages, with similar ranges in all channels.

    The ranges are measured on `crops`, N x 224 x 224 x 3 uint8 RGB.
    """
    equal = onnx.ModelProto()
    equal.CopyFrom(proto)
    weights = _weights(equal)
    for group, factors in find_factors(equal, crops):
        for node in group.producers:
            for name in node.input[1:]:  # weights and bias
                _scale(weights[name], 1 / factors, axis=0)
        for node in group.consumers:
            axis = 0 if _is_depthwise(node, weights) else 1
            _scale(weights[node.input[1]], factors, axis)
    return equal


def find_factors(proto: Any, crops: Crops) -> list[tuple[Group, Channels]]:
    """Return the groups of a traced graph that can be scaled, and what to divide channels by.

    The ranges are measured on `crops`, N x 224 x 224 x 3 uint8 RGB.
    """
    weights = _weights(proto)
    groups = [group for group in find_groups(proto) if group.scalable]
    peaks = _measure_peaks(proto, [name for group in groups for name in group.tensors], crops)
    return [
        (
            group,
            _factors(
                np.max([peaks[name] for name in group.tensors], axis=0),
                [
                    numpy_helper.to_array(weights[node.input[1]])
                    for node in group.consumers
                    if not _is_depthwise(node, weights)
                ],
            ),
        )
        for group in groups
    ]


def find_groups(proto: Any) -> list[Group]:
    """Return the groups of an ONNX model's tensors."""
    nodes, weights = list(proto.graph.node), _weights(proto)
    uses = Counter(name for node in nodes for name in node.input)
    producers = {name: node for node in nodes for name in node.output}
    clipped = {node.input[0] for node in nodes if node.op_type == "Relu"}
    tied_inputs = [_tied_inputs(node, weights, producers) for node in nodes]
    union = _Union()
    for node, tied in zip(nodes, tied_inputs, strict=True):
        for name in tied:
            union.join(name, node.output[0])
    groups: dict[str, Group] = defaultdict(Group)
    for node, tied in zip(nodes, tied_inputs, strict=True):
        scales = _is_convolution(node, weights) and uses[node.input[1]] == 1
        for name in node.output:
            group = groups[union.find(name)]
            if name not in clipped:
                group.tensors.append(name)
            if scales:
                group.producers.append(node)
            group.closed &= scales or bool(tied)
        for name in set(node.input) - weights.keys():
            group = groups[union.find(name)]
            if scales:
                group.consumers.append(node)
            group.closed &= scales or name in tied
    for output in proto.graph.output:
        groups[union.find(output.name)].closed = False
    return list(groups.values())


def _tied_inputs(node: Any, weights: Weights, producers: dict[str, Any]) -> list[str]:
    """Return the inputs whose channels must have the same factors as the node's output."""
    inputs = list(node.input)
    if node.op_type == "Mul":  # the values of a gate have no factor
        inputs = [n for n in inputs if n not in producers or producers[n].op_type not in GATES]
        if len(inputs) != 1:
            return []
    elif node.op_type not in CHANNELWISE:
        return []
    return inputs if not weights.keys() & set(inputs) else []


def _is_convolution(node: Any, weights: Weights) -> bool:
    """Return whether a node is a convolution with one group, or with one for each channel."""
    if node.op_type != "Conv" or not set(node.input[1:]) <= weights.keys():
        return False
    return count_groups(node) == 1 or _is_depthwise(node, weights)


def _is_depthwise(node: Any, weights: Weights) -> bool:
    channels = int(weights[node.input[1]].dims[0])
    return 1 < count_groups(node) == channels


def _weights(proto: Any) -> Weights:
    return {tensor.name: tensor for tensor in proto.graph.initializer}


def _factors(peaks: Channels, weights: Sequence[NDArray[np.float32]]) -> Channels:
    """Return what each channel is divided by, from its peak and the weights that read it.

    The weights of depthwise convolutions are left out: they have a scale for each channel, so that
    they take any factor. Without `weights`, the factor is proportional to the peak.
    """
    if not peaks.any():
        return np.ones_like(peaks)
    factors = np.maximum(peaks, MIN_FACTOR * peaks.max())
    if weights:
        largest = np.max([abs(values).max(axis=(0, 2, 3)) for values in weights], axis=0)
        largest = np.maximum(largest, MIN_FACTOR * largest.max())
        factors = factors**BALANCE / largest ** (1 - BALANCE)
    bounded: Channels = np.maximum(factors / factors.max(), MIN_FACTOR)
    return bounded


def _scale(tensor: Any, factors: Channels, axis: int) -> None:
    """Multiply a tensor, in place, by factors along one axis."""
    values = numpy_helper.to_array(tensor)
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    scaled = (values * factors.reshape(shape)).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))


def _measure_peaks(proto: Any, names: Sequence[str], crops: Crops) -> dict[str, Channels]:
    """Return the largest absolute value of each channel of the named tensors."""
    session = open_session(with_outputs(proto, names))
    peaks: dict[str, Channels] = {}
    for batch, count in full_batches(crops, batch_size(proto, free=BATCH)):
        for name, value in zip(names, session.run(names, {INPUT_NAME: batch}), strict=True):
            peak = abs(value[:count]).max(axis=(0, 2, 3)).astype(np.float64)
            peaks[name] = np.maximum(peaks.get(name, 0), peak)
    return peaks
