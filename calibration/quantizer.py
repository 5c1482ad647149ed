"""Quantizer: a traced FP32 graph to one with Q/DQ nodes, of which every INT8 artifact is made.

Weights per channel, activations per tensor. Preprocessing, the last layer, softmax and expectation
compute in floating point. Biases are stored so too: runtimes make their own integers of them.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
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
from halnet.calibration.layers import Layer, find_layers
from halnet.calibration.sessions import batch_size
from halnet.errors import ArtifactError, ConfigError
from halnet.runtimes.base import Crops

# Ways to a tensor's range, with ONNX Runtime's options. Its entropy search starts with as many bins
# as there are levels, 128, which leaves one range to choose: all of it.
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "minmax": (CalibrationMethod.MinMax, {}),
    "entropy": (CalibrationMethod.Entropy, {"num_bins": 512}),
    "percentile": (CalibrationMethod.Percentile, {"symmetric": False}),
}
# Beside the layers: what keeps a chain of them in integers.
ELEMENTWISE = ("Add", "Relu")
LEVELS = 127  # of 8 bits, either side of zero


@dataclass(frozen=True)
class Scheme:
    """What the integers stand for."""

    activations: Any  # QuantType
    reduced: bool  # weights of 7 bits
    stored_last: bool  # the last layer's weights are stored as integers, though not computed in
    symmetric: bool  # zero points of 0


SCHEMES = {
    # Unsigned activations with signed weights, what CPUs multiply. Weights of 7 bits: without
    # VNNI a CPU adds two products in 16 bits, which saturate with 8, so that ages would depend on
    # the machine.
    "unsigned": Scheme(QuantType.QUInt8, reduced=True, stored_last=True, symmetric=False),
    # What TensorRT takes.
    "symmetric": Scheme(QuantType.QInt8, reduced=False, stored_last=False, symmetric=True),
}


class Quantizer:
    """Measures the ranges of a graph's tensors once; quantizes any of its layers by them."""

    def __init__(
        self,
        proto: Any,
        crops: Crops,
        method: str = "minmax",
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Run `crops`, N x 224 x 224 x 3 uint8 RGB, through a traced FP32 graph.

        Raises ArtifactError for a graph that is quantized already, and for a tensor whose range is
        not finite or has no width; ConfigError for an unknown method.
        """
        if method not in METHODS:
            raise ConfigError(f"method {method}: expected one of {', '.join(METHODS)}")
        if any(node.op_type == "QuantizeLinear" for node in proto.graph.node):
            raise ArtifactError(
                "the graph is quantized already; quantize the checkpoint that it was made from"
            )
        self._proto = proto
        self.layers = find_layers(proto)
        self._nodes = _nodes_between(proto, self.layers)
        self._ranges = _measure_ranges(proto, crops, method, self._types, on_progress)
        _drop_unused(self._ranges, proto)

    @property
    def quantizable(self) -> tuple[Layer, ...]:
        """The layers that may be quantized: all but the last."""
        return self.layers[:-1]

    @property
    def _types(self) -> list[str]:
        return [*{node.op_type for node in self._nodes}]

    def quantize(self, scheme: str, keep: Set[str] = frozenset()) -> Any:
        """Return the graph with Q/DQ nodes, the layers named in `keep` in floating point.

        Raises ConfigError for a name that no layer has.
        """
        unknown = keep - {layer.name for layer in self.layers}
        if unknown:
            raise ConfigError(
                f"keep: no layer {', '.join(sorted(unknown))}; --sensitivity lists them"
            )
        kept = {node for layer in self.layers if layer.name in keep for node in layer.nodes}
        own = {name for layer in self.layers for name in layer.nodes}
        made_by = {output: node for node in self._proto.graph.node for output in node.output}

        def floats(node: Any) -> bool:
            """Tell whether a kept layer makes what this node gives."""
            if node.name in own:
                return node.name in kept
            return any(floats(made_by[name]) for name in node.input if name in made_by)

        return self._quantize(scheme, [node.name for node in self._nodes if not floats(node)])

    def _quantize(self, scheme: str, nodes: Sequence[str]) -> Any:
        chosen = SCHEMES[scheme]
        copy = onnx.ModelProto()
        copy.CopyFrom(self._proto)
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=chosen.reduced,
            weight_qType=QuantType.QInt8,
            activation_qType=chosen.activations,
            tensors_range=self._ranges,
            nodes_to_quantize=list(nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=self._types,
            extra_options={
                "ActivationSymmetric": chosen.symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        proto = quantizer.model.model
        proto.graph.ClearField("value_info")  # a runtime infers the shapes again
        if chosen.stored_last:
            _store_as_integers(proto, self.layers[-1].nodes[0])
        return proto


def _nodes_between(proto: Any, layers: Sequence[Layer]) -> list[Any]:
    """Return what may be quantized: the layers but for the last, and what stands among them."""
    nodes = list(proto.graph.node)
    names = [node.name for node in nodes]
    first, last = names.index(layers[0].nodes[0]), names.index(layers[-1].nodes[0])
    own = {name for layer in layers[:-1] for name in layer.nodes}
    return [n for n in nodes[first:last] if n.name in own or n.op_type in ELEMENTWISE]


def _store_as_integers(proto: Any, name: str) -> None:
    """Store a layer's weights in 8 bits, a scale for each output, widened when it is computed."""
    index, node = next((i, n) for i, n in enumerate(proto.graph.node) if n.name == name)
    weights = next(t for t in proto.graph.initializer if t.name == node.input[1])
    values = numpy_helper.to_array(weights)
    if node.op_type != "Gemm" or not any(a.name == "transB" and a.i for a in node.attribute):
        return  # outputs are not its first axis
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


class CropReader(CalibrationDataReader):  # type: ignore[misc]
    """Gives N x 224 x 224 x 3 uint8 RGB crops to ONNX Runtime's calibration in batches."""

    def __init__(
        self,
        crops: Crops,
        size: int = BATCH,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._batches = self._read(crops, size, on_progress)

    @staticmethod
    def _read(
        crops: Crops, size: int, on_progress: Callable[[int, int], None]
    ) -> Iterator[dict[str, Crops]]:
        done = 0
        for batch, count in full_batches(crops, size):
            yield {INPUT_NAME: batch}
            done += count
            on_progress(done, len(crops))

    def get_next(self) -> dict[str, Crops] | None:
        """Return the next batch by the input's name; None at the end."""
        return next(self._batches, None)


def _measure_ranges(
    proto: Any,
    crops: Crops,
    method: str,
    types: list[str],
    on_progress: Callable[[int, int], None],
) -> Any:
    kind, options = METHODS[method]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.onnx")
        onnx.save(proto, model)
        calibrator = create_calibrator(
            model,
            types,
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=kind,
            extra_options=options,
        )
        calibrator.collect_data(CropReader(crops, batch_size(proto, free=BATCH), on_progress))
        ranges = calibrator.compute_data()
    for name, found in ranges.items():
        low, high = (float(np.asarray(v).min()) for v in found.range_value)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ArtifactError(f"{name}: its range is {low} to {high} on the calibration crops")
        if low == high:
            raise ArtifactError(
                f"{name}: is {low:g} on every calibration crop, which leaves no range to quantize"
            )
    return ranges


def _drop_unused(ranges: Any, proto: Any) -> None:
    """Clip, in place, the ranges of tensors to what the steps after them tell apart.

    Below -3, Hardswish gives 0 whatever the value: integers are wasted there.
    """
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in proto.graph.node:
        for name in node.input:
            readers[name].append(node)
    for name, found in ranges.items():
        told_apart = [_told_apart(node) for node in readers[name]]
        if told_apart:
            low, high = min(low for low, _ in told_apart), max(high for _, high in told_apart)
            found.lowest = np.clip(found.lowest, np.float32(low), np.float32(high))
            found.highest = np.clip(found.highest, np.float32(low), np.float32(high))


def _told_apart(node: Any) -> tuple[float, float]:
    """Return between which values a step gives different results."""
    if node.op_type == "HardSwish":
        return -3.0, np.inf
    if node.op_type == "HardSigmoid":  # max(0, min(1, alpha x + beta))
        given = {a.name: a.f for a in node.attribute}
        alpha, beta = given.get("alpha", 0.2), given.get("beta", 0.5)
        return -beta / alpha, (1 - beta) / alpha
    return -np.inf, np.inf
