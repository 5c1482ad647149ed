"""Counts of the roof: what a model has to compute and to move, from the shapes in its file.

Only convolutions and matrix products are counted. What lies between them, such as activations and
sums, takes few operations, and a runtime computes most of it together with the layer before it.
"""

from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from halnet.artifact import find_model
from halnet.benchmarks.roof.graph import Graph, Node, read_graph
from halnet.runtimes.base import library_errors

# Convolutions, in ONNX and in OpenVINO. Their weights have the outputs first.
CONVOLUTIONS = frozenset({"Conv", "Convolution", "GroupConvolution"})
PRODUCTS = frozenset({"Gemm", "MatMul"})  # the columns of their result are the last axis
LAYERS = CONVOLUTIONS | PRODUCTS
QUANTIZERS = frozenset({"QuantizeLinear", "FakeQuantize"})
# What stands between a quantizer, or constants, and a layer, in ONNX and in OpenVINO.
PASSING = QUANTIZERS | {"DequantizeLinear", "Convert", "Subtract", "Multiply", "Reshape"}
MOVING = frozenset({"Reshape", "Transpose"})  # their second input is no number to compute with
INT8_BYTES, HALF_BYTES = 1, 2  # of one number


@dataclass(frozen=True)
class LayerCost:
    """What one convolution or matrix product has to compute and to move for one inference."""

    name: str  # its node in the file
    weights: str  # the module whose weights it has; empty if the file does not say it
    operator: str
    precision: str  # "fp32", "fp16" or "int8": the numbers that it multiplies, as the file has them
    multiply_adds: int
    weight_bytes: int  # as the file has them
    activation_bytes: int  # read and written
    aliases: tuple[str, ...] = ()  # names that a runtime may give it, after what is fused with it


@dataclass(frozen=True)
class ModelCost:
    """What a model has to compute and to move for one inference."""

    model: str
    batch: int  # crops in one inference
    layers: tuple[LayerCost, ...]
    weight_bytes: int  # all constants of the file
    end_bytes: int  # the crops that are read and the outputs that are written

    @property
    def multiply_adds(self) -> dict[str, int]:
        """The multiply-adds of all layers, for each precision."""
        found: dict[str, int] = {}
        for layer in self.layers:
            found[layer.precision] = found.get(layer.precision, 0) + layer.multiply_adds
        return found

    @property
    def activation_bytes(self) -> int:
        """The bytes that the layers read and write between the crops and the outputs."""
        return sum(layer.activation_bytes for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        sums = {"multiply_adds": self.multiply_adds, "activation_bytes": self.activation_bytes}
        return asdict(self) | sums


def count_costs(model: str | Path, batch: int = 1) -> ModelCost:
    """Return what an .onnx file or a folder of OpenVINO has to compute and to move.

    A file for a fixed number of crops is counted for that number, which `batch` of the result
    states. Raises what `read_graph` raises, and ArtifactError for a file with shapes that do not
    follow from the number of crops.
    """
    path = Path(find_model(model))
    with library_errors(path, "its operations cannot be counted"):
        return count_graph(read_graph(path, batch), str(model))


def count_graph(graph: Graph, model: str = "") -> ModelCost:
    """Return the costs of a graph. The first axis of its input has the crops.

    Raises ValueError for a graph with shapes that are not known.
    """
    ends = [graph.tensor(name) for name in (*graph.inputs, *graph.outputs)]
    return ModelCost(
        model,
        ends[0].shape[0],
        tuple(_count_layer(graph, node) for node in graph.nodes if node.operator in LAYERS),
        sum(tensor.bytes for tensor in graph.tensors.values() if tensor.is_constant),
        sum(tensor.bytes for tensor in ends),
    )


def _count_layer(graph: Graph, node: Node) -> LayerCost:
    """Count one layer: each number of its result is a sum of `depth` products.

    A convolution has `depth` weights for each channel, and a matrix product for each column, in
    whatever order the axes are.
    """
    data, weights = (graph.tensor(name) for name in node.inputs[:2])
    result = graph.tensor(node.outputs[0])
    if node.operator in CONVOLUTIONS:
        depth = weights.size // result.shape[1]
    else:
        depth = prod(weights.shape[-2:]) // result.shape[-1]
    constants = [name for part in node.inputs[1:] for name in _constants(graph, part)]
    is_int8 = _is_quantized(graph, node.inputs[0]) and any(
        graph.tensor(name).item_bytes <= INT8_BYTES for name in constants
    )
    fused = _find_fused(graph, node)
    after = graph.readers.get(fused[-1].outputs[0], [])
    writes_int8 = bool(after) and all(reader.operator in QUANTIZERS for reader in after)
    names = [name for part in fused for name in (part.name, *part.outputs)]
    return LayerCost(
        node.name,
        next((name.partition(".weight")[0] for name in constants if ".weight" in name), ""),
        node.operator,
        "int8" if is_int8 else "fp16" if data.item_bytes == HALF_BYTES else "fp32",
        result.size * depth,
        sum(graph.tensor(name).bytes for name in constants),
        round(data.size * (INT8_BYTES if is_int8 else data.item_bytes))
        + round(result.size * (INT8_BYTES if writes_int8 else result.item_bytes)),
        tuple(dict.fromkeys(name for name in names if name)),
    )


def _constants(graph: Graph, name: str) -> list[str]:
    """Return the constants that a tensor is computed from; none if it depends on the input."""
    if not name or name not in graph.fixed:
        return []
    if name not in graph.writers:
        return [name]
    writer = graph.writers[name]
    parts = writer.inputs[:1] if writer.operator in MOVING else writer.inputs
    return [found for part in parts for found in _constants(graph, part)]


def _is_quantized(graph: Graph, name: str) -> bool:
    """Return whether a tensor has the values of 8-bit integers, perhaps with a scale."""
    writer = graph.writers.get(name)
    if writer is None or writer.operator not in PASSING:
        return False
    if writer.operator in QUANTIZERS:
        return True
    first, *others = writer.inputs
    return graph.fixed.issuperset(others) and _is_quantized(graph, first)


def _find_fused(graph: Graph, node: Node) -> list[Node]:
    """Return a layer and the nodes after it that a runtime may compute together with it.

    These are nodes that alone read the result, such as a bias or an activation.
    """
    found = [node]
    while True:
        readers = graph.readers.get(found[-1].outputs[0], [])
        if len(readers) != 1 or readers[0].operator in LAYERS | QUANTIZERS:
            return found
        if len([name for name in readers[0].inputs if name not in graph.fixed]) != 1:
            return found
        found.append(readers[0])
