"""Equalization: channels of one tensor brought to like ranges, the same mathematics.

One scale for a whole tensor wastes its integers on a channel that is wider than the others. Where
only sums, means, ReLU and gates stand between two convolutions, the first can make each channel
smaller by a factor and the second larger [Nagel et al., ICCV 2019, section 4.1]; how much of the
spread goes into the second one's weights is balanced as in SmoothQuant [Xiao et al., ICML 2023,
equation 4].
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

Channels = NDArray[np.float64]  # one value a channel

BALANCE = 0.5  # the activations' part; 1: all of the spread goes into the weights
LEAST = 0.01  # of the largest factor: a channel that is hardly used is not blown up
# Steps that leave a channel's positive factor as it is: max(0, f x) = f max(0, x).
CHANNELWISE = ("Relu", "Add", "AveragePool", "GlobalAveragePool")
GATES = ("Sigmoid", "HardSigmoid")


@dataclass
class Group:
    """Tensors whose channels can only be scaled together, and the convolutions around them."""

    tensors: list[str] = field(default_factory=list)  # but for those that a ReLU cuts off first
    makers: list[Any] = field(default_factory=list)  # convolutions that give one of them
    readers: list[Any] = field(default_factory=list)  # convolutions that take one
    closed: bool = True  # no other step makes or takes one

    @property
    def scalable(self) -> bool:
        """Whether factors can go from the makers to the readers."""
        return self.closed and bool(self.makers and self.readers)


def equalize(proto: Any, crops: Crops) -> Any:
    """Return a traced graph that gives the same ages from tensors of more equal channels.

    The ranges of channels are measured on `crops`, N x 224 x 224 x 3 uint8 RGB.
    """
    equal = onnx.ModelProto()
    equal.CopyFrom(proto)
    weights = _weights(equal)
    groups = [group for group in find_groups(equal) if group.scalable]
    peaks = _measure_peaks(equal, [name for group in groups for name in group.tensors], crops)
    for group in groups:
        factors = _factors(
            np.max([peaks[name] for name in group.tensors], axis=0),
            [_values(node, weights) for node in group.readers if not _is_depthwise(node, weights)],
        )
        for node in group.makers:
            for name in node.input[1:]:  # weights and bias
                _scale(weights[name], 1 / factors, axis=0)
        for node in group.readers:
            axis = 0 if _is_depthwise(node, weights) else 1
            _scale(weights[node.input[1]], factors, axis)
    return equal


def find_groups(proto: Any) -> list[Group]:
    """Return the groups of a graph's tensors."""
    weights = _weights(proto)
    uses = Counter(name for node in proto.graph.node for name in node.input)
    made_by = {name: node for node in proto.graph.node for name in node.output}
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    cut = {node.input[0] for node in proto.graph.node if node.op_type == "Relu"}
    ties = [_tied(node, weights, made_by) for node in proto.graph.node]
    for node, tied in zip(proto.graph.node, ties, strict=True):
        for name in tied:
            leader[find(name)] = find(node.output[0])
    groups: dict[str, Group] = defaultdict(Group)
    for node, tied in zip(proto.graph.node, ties, strict=True):
        convolution = _is_convolution(node, weights) and uses[node.input[1]] == 1
        for name in node.output:
            group = groups[find(name)]
            if name not in cut:
                group.tensors.append(name)
            if convolution:
                group.makers.append(node)
            group.closed &= convolution or bool(tied)
        for name in set(node.input) - weights.keys():
            group = groups[find(name)]
            if convolution:
                group.readers.append(node)
            group.closed &= convolution or name in tied
    for output in proto.graph.output:
        groups[find(output.name)].closed = False
    return list(groups.values())


def _tied(node: Any, weights: dict[str, Any], made_by: dict[str, Any]) -> list[str]:
    """Return the inputs that must have the same factors as the step's output."""
    inputs = list(node.input)
    if node.op_type == "Mul":  # a gate weights a channel, whatever its factor
        inputs = [n for n in inputs if n not in made_by or made_by[n].op_type not in GATES]
        if len(inputs) != 1:
            return []
    elif node.op_type not in CHANNELWISE:
        return []
    return inputs if not weights.keys() & set(inputs) else []


def _is_convolution(node: Any, weights: dict[str, Any]) -> bool:
    """Whether a step is a convolution of all channels, or of each one by itself."""
    if node.op_type != "Conv" or not set(node.input[1:]) <= weights.keys():
        return False
    return count_groups(node) == 1 or _is_depthwise(node, weights)


def _is_depthwise(node: Any, weights: dict[str, Any]) -> bool:
    channels = int(weights[node.input[1]].dims[0])
    return 1 < count_groups(node) == channels


def _weights(proto: Any) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in proto.graph.initializer}


def _values(node: Any, weights: dict[str, Any]) -> NDArray[np.float32]:
    return numpy_helper.to_array(weights[node.input[1]])


def _factors(peaks: Channels, read_by: Sequence[NDArray[np.float32]]) -> Channels:
    """Return what each channel is divided by: all of its peak where depthwise weights read it."""
    if not peaks.any():
        return np.ones_like(peaks)
    factors = np.maximum(peaks, LEAST * peaks.max())
    if read_by:
        taken = np.max([abs(values).max(axis=(0, 2, 3)) for values in read_by], axis=0)
        taken = np.maximum(taken, LEAST * taken.max())
        factors = factors**BALANCE / taken ** (1 - BALANCE)
    bounded: Channels = np.maximum(factors / factors.max(), LEAST)
    return bounded


def _scale(tensor: Any, factors: Channels, axis: int) -> None:
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
