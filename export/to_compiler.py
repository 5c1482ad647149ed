"""ONNX for vendors' compilers: a graph of common operators from pixels to logits, and a sidecar.

The batch size is fixed, and what compilers often cannot read is not in the graph: no softmax, no
shapes that are computed, and no operators that are younger than the opset.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper

from halnet.artifact import INPUT_NAME, Metadata
from halnet.export.config import Target
from halnet.export.to_onnx import export_graph, write_model
from halnet.faces.alignment import CROP_SIZE
from halnet.files import write_text
from halnet.network.heads import HEADS
from halnet.network.model import AgeNet
from halnet.runtimes.compiler_form import (
    DECODINGS,
    INPUTS,
    LOGITS_NAME,
    PROPERTY,
    CompilerForm,
    channels,
)
from halnet.runtimes.sidecar import sidecar_path

NORMALISED = "normalised"  # name of the normalised pixels, where the graph computes them


@dataclass(frozen=True, eq=False)
class CompilerGraph:
    """The part of a network that a compiler gets, and the constants of what is left out."""

    proto: Any  # from normalised pixels, N x 3 x 224 x 224 float32, to logits; an ONNX model
    mean: tuple[float, float, float]  # of R, G and B, on pixels from 0 to 255
    std: tuple[float, float, float]
    head: str


def trace(model: AgeNet, precision: str = "fp32", batch: int | None = 1) -> CompilerGraph:
    """Return the graph of a network from normalised pixels to logits, for `batch` crops."""
    del precision  # the compiler rounds the weights
    example = torch.zeros(batch or 1, 3, CROP_SIZE, CROP_SIZE, dtype=torch.float32, device="cpu")
    (head,) = (name for name, head in HEADS.items() if type(head) is type(model.head))
    proto = export_graph(model.network, example, (LOGITS_NAME,))
    return CompilerGraph(proto, channels(model.mean.flatten()), channels(model.std.flatten()), head)


def write_compiler(graph: CompilerGraph, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a graph as an ONNX file of the opset and with the input of `target`, and its sidecar.

    Raises ArtifactError where the graph cannot be written in this opset.
    """
    form = CompilerForm(target.input, graph.mean, graph.std, graph.head)
    model = onnx.ModelProto()
    model.CopyFrom(graph.proto)
    _replace_nodes(model.graph)
    _add_input(model.graph, form)
    properties = {**metadata.to_properties(), PROPERTY: form.to_json()}
    write_model(model, properties, path, target.opset)
    described = _describe(onnx.load_model(path), form, properties)
    write_text(sidecar_path(path), json.dumps(described, indent=1) + "\n")


def _replace_nodes(graph: Any) -> None:
    """Replace operators that few compilers know by others with the same result."""
    shapes = {value.name: _shape(value) for value in [*graph.value_info, *graph.input]}
    nodes = [new for node in graph.node for new in _rewrite(node, shapes)]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _rewrite(node: Any, shapes: dict[str, list[int]]) -> Iterator[Any]:
    """Yield what stands in the place of a node."""
    result = node.output[0]
    if node.op_type == "Reshape":  # to N x C, which needs no shape
        yield helper.make_node("Flatten", node.input[:1], [result], node.name, axis=1)
    elif node.op_type == "AveragePool" and shapes.get(result, [])[2:] == [1, 1]:
        yield helper.make_node("GlobalAveragePool", node.input, [result], node.name)
    else:
        yield node


def _add_input(graph: Any, form: CompilerForm) -> None:
    """Let the graph take uint8 pixels and normalise them, if the form says so."""
    kind = INPUTS[form.input]
    if kind.normalised:
        return
    for node in graph.node:
        node.input[:] = [NORMALISED if name == INPUT_NAME else name for name in node.input]
    constants = {
        name: torch.tensor(values).view(1, 3, 1, 1).numpy()
        for name, values in (("mean", form.mean), ("std", form.std))
    }
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Cast", [], {"to": onnx.TensorProto.FLOAT}),
        *([("Transpose", [], {"perm": (0, 3, 1, 2)})] if kind.layout == "NHWC" else []),
        ("Sub", ["mean"], {}),
        ("Div", ["std"], {}),
    ]
    value = INPUT_NAME
    for index, (operator, constant, attributes) in enumerate(steps):
        name = f"input.{operator.lower()}"
        result = NORMALISED if operator == "Div" else name
        node = helper.make_node(operator, [value, *constant], [result], name, **attributes)
        graph.node.insert(index, node)
        value = result
    batch, *sizes = _shape(graph.input[0])
    shape = [batch, *(sizes if kind.layout == "NCHW" else [*sizes[1:], sizes[0]])]
    new = helper.make_tensor_value_info(INPUT_NAME, onnx.TensorProto.UINT8, shape)
    graph.input[0].CopyFrom(new)


def _describe(model: Any, form: CompilerForm, properties: dict[str, str]) -> dict[str, Any]:
    """Return the content of the sidecar, which says all that a program around the file must do."""
    kind, graph = INPUTS[form.input], model.graph
    return {
        "input": {
            "name": INPUT_NAME,
            "shape": _shape(graph.input[0]),
            "dtype": kind.dtype,
            "layout": kind.layout,
            "colour": "RGB",
            "mean": form.mean,
            "std": form.std,
            "normalisation": "the program or the compiler computes (pixel - mean) / std for each "
            "channel, with pixels from 0 to 255"
            if kind.normalised
            else "the graph computes (pixel - mean) / std for each channel; the input is the pixel",
        },
        "output": {
            "name": LOGITS_NAME,
            "shape": _shape(graph.output[0]),
            "dtype": "float32",
            "probabilities": DECODINGS[form.head].formula,
            "age": "sum over k of k * probabilities[k], in years",
            "stddev": "square root of the sum over k of (k - age)^2 * probabilities[k], in years",
        },
        "opset": model.opset_import[0].version,
        "operators": dict(Counter(sorted(node.op_type for node in graph.node))),
        "properties": properties,
    }


def _shape(value: Any) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
