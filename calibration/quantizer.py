"""The quantizer: adds Q/DQ nodes to a traced FP32 graph, from which every INT8 artifact is made.

Weights have one scale for each channel, activations one for each tensor. Preprocessing, the last
layer, softmax and expectation compute in floating point. Biases are stored in floating point too,
because the runtimes convert them to integers themselves.
"""

import tempfile
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from halnet.artifact import INPUT_NAME
from halnet.calibration.crops import BATCH, full_batches
from halnet.calibration.layers import Layer, check_names, find_layers
from halnet.calibration.methods import METHODS
from halnet.calibration.sessions import batch_size
from halnet.errors import ArtifactError, ConfigError
from halnet.network.int8_levels import LEVELS, WEIGHT_LEVELS
from halnet.runtimes.base import Crops

# Operators between layers that are quantized too, so that a chain of layers stays in integers.
ELEMENTWISE = ("Add", "Relu")


@dataclass(frozen=True)
class Scheme:
    """Which integers a graph computes with."""

    activations: Any  # QuantType
    weight_levels: int  # integers on either side of zero
    store_last: bool  # whether the last layer's weights, which compute in float, are stored as int8
    symmetric: bool  # whether all zero points are 0
    made_for: str  # the processors that these integers fit, in words

    @property
    def weight_bits(self) -> int:
        """The number of bits of a weight."""
        return 7 if self.weight_levels == WEIGHT_LEVELS else 8


SCHEMES = {
    # CPUs multiply unsigned activations with signed weights. A CPU without VNNI adds two products
    # in 16 bits. With weights of 8 bits, the sums can saturate: ages would depend on the machine.
    "unsigned": Scheme(
        QuantType.QUInt8,
        WEIGHT_LEVELS,
        store_last=True,
        symmetric=False,
        made_for="processors of any kind, also x86 without VNNI",
    ),
    "unsigned 8": Scheme(
        QuantType.QUInt8,
        LEVELS,
        store_last=True,
        symmetric=False,
        made_for="x86 processors with VNNI, and Arm processors",
    ),
    # TensorRT supports no other scheme.
    "symmetric": Scheme(
        QuantType.QInt8,
        LEVELS,
        store_last=False,
        symmetric=True,
        made_for="GPUs of NVIDIA, by TensorRT",
    ),
}


class Quantizer:
    """Measures the ranges of a graph's tensors once, and quantizes any of its layers with them."""

    def __init__(self, proto: Any, crops: Crops, method: str = "minmax") -> None:
        """Run `crops`, N x 224 x 224 x 3 uint8 RGB, through a traced FP32 graph, an ONNX model.

        Raises ArtifactError for a graph that is already quantized, and for a tensor whose range is
        not finite or has no width; ConfigError for an unknown method.
        """
        if method not in METHODS:
            raise ConfigError(f"method {method}: expected one of {', '.join(METHODS)}")
        if any(node.op_type == "QuantizeLinear" for node in proto.graph.node):
            raise ArtifactError(
                "expected an FP32 graph, found one that is already quantized; quantize the "
                "checkpoint that it was made from"
            )
        self._proto = proto
        self.layers = find_layers(proto)
        self._nodes = _quantizable_nodes(proto, self.layers)
        self._types = sorted({node.op_type for node in self._nodes})
        self._ranges = _measure_ranges(proto, crops, method, self._types)
        _clip_ranges(self._ranges, proto)

    @property
    def quantizable(self) -> tuple[Layer, ...]:
        """The layers that can be quantized: all but the last."""
        return self.layers[:-1]

    def quantize(self, scheme: str, keep: Set[str] = frozenset()) -> Any:
        """Return the graph with Q/DQ nodes; the layers named in `keep` stay in floating point.

        `scheme` is a name in `SCHEMES`. Raises ConfigError for a name that no layer has.
        """
        check_names(keep, self.layers)
        in_float = self._nodes_in_float(keep)
        quantized = [node.name for node in self._nodes if node.name not in in_float]
        return self._insert_qdq(SCHEMES[scheme], quantized)

    def _nodes_in_float(self, keep: Set[str]) -> set[str]:
        """Return the nodes of the layers in `keep`, and those between layers that follow them."""
        own = {name: layer.name in keep for layer in self.layers for name in layer.nodes}
        kept_outputs: set[str] = set()
        in_float = set()
        for node in self._proto.graph.node:  # in order: a node follows those that it reads
            if own.get(node.name, not kept_outputs.isdisjoint(node.input)):
                in_float.add(node.name)
                kept_outputs.update(node.output)
        return in_float

    def _insert_qdq(self, scheme: Scheme, nodes: Sequence[str]) -> Any:
        """Return a copy of the graph with Q/DQ nodes around the named nodes."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self._proto)
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=scheme.weight_levels == WEIGHT_LEVELS,
            weight_qType=QuantType.QInt8,
            activation_qType=scheme.activations,
            tensors_range=self._ranges,
            nodes_to_quantize=list(nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=self._types,
            extra_options={
                "ActivationSymmetric": scheme.symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
        quantizer.quantize_model()
        proto = quantizer.model.model
        _separate_weights(proto.graph)
        quantizer.model.topological_sort()
        proto.graph.ClearField("value_info")  # a runtime infers the shapes again
        if scheme.store_last:
            _store_as_integers(proto, self.layers[-1].nodes[0])
        return proto


class CropReader(CalibrationDataReader):  # type: ignore[misc]
    """Gives N x 224 x 224 x 3 uint8 RGB crops to ONNX Runtime's calibration in batches."""

    def __init__(self, crops: Crops, size: int = BATCH) -> None:
        self._batches = full_batches(crops, size)

    def get_next(self) -> dict[str, Crops] | None:
        """Return the next batch by the name of the input; None after the last one."""
        batch, _ = next(self._batches, (None, 0))
        return None if batch is None else {INPUT_NAME: batch}


def _quantizable_nodes(proto: Any, layers: Sequence[Layer]) -> list[Any]:
    """Return the nodes of all layers but the last, and the elementwise nodes between them."""
    nodes = list(proto.graph.node)
    names = [node.name for node in nodes]
    first, last = names.index(layers[0].nodes[0]), names.index(layers[-1].nodes[0])
    own = {name for layer in layers[:-1] for name in layer.nodes}
    return [n for n in nodes[first:last] if n.name in own or n.op_type in ELEMENTWISE]


def _separate_weights(graph: Any) -> None:
    """Give each reader of a weight a DQ node of its own; they share the integers.

    ONNX Runtime 1.15 and 1.16 cannot run a model in which two layers read the same DQ node.
    """
    stored = {tensor.name for tensor in graph.initializer}
    shared = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored
    }
    seen: set[str] = set()
    for reader in list(graph.node):
        for i, name in enumerate(reader.input):
            if name in shared and name in seen:
                own = graph.node.add()
                own.CopyFrom(shared[name])
                own.name = own.output[0] = reader.input[i] = f"{name}_{reader.name}"
            seen.add(name)


def _store_as_integers(proto: Any, name: str) -> None:
    """Store a layer's weights as int8, with a scale for each output and a DQ node behind them."""
    index, node = next((i, n) for i, n in enumerate(proto.graph.node) if n.name == name)
    weights = next(t for t in proto.graph.initializer if t.name == node.input[1])
    values = numpy_helper.to_array(weights)
    if node.op_type != "Gemm" or not any(a.name == "transB" and a.i for a in node.attribute):
        return  # the first axis of the weights is not that of the outputs
    scales = np.maximum(abs(values).max(axis=1) / LEVELS, np.finfo(np.float32).tiny)
    integers = np.round(values / scales[:, None]).astype(np.int8)
    stored, scale, widened = (node.input[1] + suffix for suffix in ("_int8", "_scale", "_widened"))
    proto.graph.initializer.remove(weights)
    proto.graph.initializer.extend(
        [numpy_helper.from_array(integers, stored), numpy_helper.from_array(scales, scale)]
    )
    node.input[1] = widened
    proto.graph.node.insert(
        index, helper.make_node("DequantizeLinear", [stored, scale], [widened], widened, axis=0)
    )


def _measure_ranges(proto: Any, crops: Crops, method: str, types: list[str]) -> Any:
    """Return the ranges of the tensors around the operators in `types`, by the tensor's name."""
    kind, options = METHODS[method]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.onnx")
        onnx.save(proto, model)
        calibrator = create_calibrator(
            model,
            types,
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=CalibrationMethod[kind],
            extra_options=options,
        )
        calibrator.collect_data(CropReader(crops, batch_size(proto, free=BATCH)))
        ranges = calibrator.compute_data()
    for name, found in ranges.items():
        low, high = (float(np.asarray(v).min()) for v in found.range_value)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ArtifactError(
                f"tensor {name}: expected a finite range on the calibration crops, found {low} to "
                f"{high}; train the checkpoint again"
            )
        if low == high:
            raise ArtifactError(
                f"tensor {name}: expected different values on the calibration crops, found only "
                f"{low:g}; train the checkpoint again, or calibrate on other photos"
            )
    return ranges


def _clip_ranges(ranges: Any, proto: Any) -> None:
    """Clip, in place, the range of each tensor to the values that its readers distinguish.

    Hardswish, for example, returns 0 for all values below -3, so that integers for different values
    there would be wasted.
    """
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in proto.graph.node:
        for name in node.input:
            readers[name].append(node)
    for name, found in ranges.items():
        limits = [_distinguished_range(node) for node in readers[name]]
        if limits:
            low, high = min(low for low, _ in limits), max(high for _, high in limits)
            found.lowest = np.clip(found.lowest, np.float32(low), np.float32(high))
            found.highest = np.clip(found.highest, np.float32(low), np.float32(high))


def _distinguished_range(node: Any) -> tuple[float, float]:
    """Return the range of inputs for which a node gives different outputs."""
    if node.op_type == "HardSwish":
        return -3.0, np.inf
    if node.op_type == "HardSigmoid":  # max(0, min(1, alpha x + beta))
        given = {a.name: a.f for a in node.attribute}
        alpha, beta = given.get("alpha", 0.2), given.get("beta", 0.5)
        return -beta / alpha, (1 - beta) / alpha
    return -np.inf, np.inf
