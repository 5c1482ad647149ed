"""Graphs of the roof: a model file as both formats have it, with the shapes of its tensors."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from halnet.errors import ArtifactError
from halnet.packages import import_library, import_openvino, is_installed
from halnet.runtimes.base import library_errors
from halnet.runtimes.onnx_file import ONNX_ENDINGS, read_onnx
from halnet.runtimes.ov import LAST, XML_FILE

WHAT, EXTRA = "counting the operations of a model", "export"
BIAS = "/WithoutBiases"  # OpenVINO adds it to the name of a layer whose bias is a node of its own


@dataclass(frozen=True)
class Tensor:
    """An array of a graph."""

    shape: tuple[int, ...]
    item_bytes: float  # of one number; OpenVINO has types of half a byte
    is_constant: bool = False  # a weight that is stored in the file

    @property
    def size(self) -> int:
        """Return how many numbers it has."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Return how much memory it takes."""
        return round(self.size * self.item_bytes)


@dataclass(frozen=True)
class Node:
    """One operation of a graph, which reads and writes tensors by their names."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A model file as both formats have it: nodes in their order, and all tensors by name."""

    nodes: tuple[Node, ...]
    tensors: dict[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @cached_property
    def fixed(self) -> frozenset[str]:
        """The tensors that do not depend on the input. A name that is empty stands for no input."""
        found = {"", *(name for name, tensor in self.tensors.items() if tensor.is_constant)}
        for node in self.nodes:
            if found.issuperset(node.inputs):
                found |= set(node.outputs)
        return frozenset(found)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor; ValueError if its shape does not follow from the number of crops."""
        if name not in self.tensors:
            raise ValueError(
                f"tensor {name}: expected a shape that follows from the number of crops, found none"
            )
        return self.tensors[name]

    @cached_property
    def writers(self) -> dict[str, Node]:
        """The node that writes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs}

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found


def read_graph(path: Path, batch: int) -> Graph:
    """Return the graph of an .onnx file or a folder of OpenVINO.

    It has the shapes for `batch` crops, or for as many as the file takes. An .onnx file is read by
    onnx or, where that is not installed, by OpenVINO. Raises ArtifactError for a file that cannot
    be read, and RuntimeUnavailableError if a library is missing.
    """
    is_onnx = path.name.endswith(ONNX_ENDINGS)
    if is_onnx and is_installed("onnx"):
        onnx = import_library("onnx", WHAT, EXTRA)
        data = read_onnx(path)
        with library_errors(path, "onnx cannot read it"):
            return read_onnx_graph(onnx.load_model_from_string(data), batch)
    if is_onnx or path.suffix == ".xml" or path.is_dir():
        return _read_openvino(path, batch)
    raise ArtifactError(
        f"{path}: expected an .onnx file or a folder of OpenVINO, whose operations can be "
        "counted; make one with halnet export"
    )


def read_onnx_graph(proto: Any, batch: int) -> Graph:
    """Return the graph of an ONNX model, with `batch` crops where it takes any number."""
    onnx = import_library("onnx", WHAT, EXTRA)
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    size = fixed.graph.input[0].type.tensor_type.shape.dim[0]
    size.dim_value = size.dim_value or batch
    graph = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    tensors = {}
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.tensor_type
        if all(size.HasField("dim_value") for size in kind.shape.dim):
            shape = tuple(size.dim_value for size in kind.shape.dim)
            tensors[value.name] = Tensor(shape, _onnx_bytes(onnx, kind.elem_type))
    tensors |= {
        weight.name: Tensor(tuple(weight.dims), _onnx_bytes(onnx, weight.data_type), True)
        for weight in graph.initializer
    }
    nodes = tuple(
        Node(node.name, node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node
    )
    inputs = tuple(value.name for value in graph.input)
    return Graph(nodes, tensors, inputs, tuple(value.name for value in graph.output))


def _onnx_bytes(onnx: Any, kind: int) -> float:
    size: float = onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
    return size


def _read_openvino(path: Path, batch: int) -> Graph:
    ov = import_openvino(WHAT, "openvino")
    with library_errors(path, "OpenVINO cannot read it", LAST):
        if path.name.endswith(ONNX_ENDINGS):
            network = ov.Core().read_model(read_onnx(path))
        else:
            network = ov.Core().read_model(path / XML_FILE if path.is_dir() else path)
        shape = network.inputs[0].partial_shape
        if shape[0].is_dynamic:
            shape[0] = batch
            network.reshape({network.inputs[0]: shape})
        return read_openvino_graph(network)


def read_openvino_graph(network: Any) -> Graph:
    """Return the graph of a model of OpenVINO whose shapes are fixed."""
    nodes, tensors = [], {}
    ends: dict[str, list[str]] = {"Parameter": [], "Result": []}
    for operation in network.get_ordered_ops():
        kind, name = operation.get_type_name(), operation.get_friendly_name()
        read = tuple(_port_name(port.get_source_output()) for port in operation.inputs())
        written = tuple(map(_port_name, operation.outputs()))
        if kind in ends:
            ends[kind] += written if kind == "Parameter" else read
        elif kind != "Constant":
            nodes.append(Node(name.removesuffix(BIAS), kind, read, written))
        for port, tensor in zip(operation.outputs(), written, strict=True):
            if port.partial_shape.is_static:
                item_bytes = port.element_type.bitwidth / 8
                tensors[tensor] = Tensor(tuple(port.shape), item_bytes, kind == "Constant")
    return Graph(tuple(nodes), tensors, tuple(ends["Parameter"]), tuple(ends["Result"]))


def _port_name(port: Any) -> str:
    """Return a name for an output of a node: the name of the node, and a number for others."""
    name, index = port.get_node().get_friendly_name(), port.get_index()
    return f"{name}:{index}" if index else str(name)
