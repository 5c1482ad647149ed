"""The quantizer of LiteRT models: measures the ranges of a `.tflite` model, and quantizes layers.

ai-edge-quantizer decides by the names of tensors what is quantized. Here, each operation is named
in full, so that what computes in floating point is the same as in the other formats: the layers
that are kept, what follows them up to the next layer, preprocessing, the last layer, softmax and
expectation.
"""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_quantizer import qtyping, quantizer
from onnx import numpy_helper

from halnet.artifact import INPUT_NAME
from halnet.calibration.crops import full_batches
from halnet.calibration.layers import Layer, check_names, find_layers
from halnet.cores import thread_count
from halnet.errors import ArtifactError
from halnet.export.litert_forms import FORMS
from halnet.export.quiet import quiet
from halnet.export.to_litert import LAYERS, make
from halnet.runtimes.base import Crops

HARD_SWISH_ZERO = -3.0  # hardswish is 0 for all values below
WEIGHT_BITS = 8
ANY = qtyping.TFLOperationName.ALL_SUPPORTED  # of the operations that a form supports


@dataclass(frozen=True)
class Operation:
    """One operation of a model."""

    kind: str  # name in the format, such as CONV_2D
    scope: str  # how ai-edge-quantizer names it: the names of its outputs, each followed by ;
    inputs: tuple[str, ...]  # names of tensors
    outputs: tuple[str, ...]
    layer: str = ""  # name of the layer whose weights it has; empty: it has none


class LiteRTQuantizer:
    """Measures the ranges of a model's tensors once, and quantizes any of its layers with them."""

    def __init__(self, data: bytes, proto: Any, crops: Crops, threads: int | None = None) -> None:
        """Run `crops`, N x 224 x 224 x 3 uint8 RGB, through a `.tflite` model in FP32.

        `proto` is the ONNX model of the same network, from which the layers have their names.
        Raises ArtifactError where the layers of the two differ, and for a tensor whose range is not
        finite.
        """
        self._data = data
        self.layers = find_layers(proto)
        self._operations = _find_operations(data, proto)
        computed = {name for operation in self._operations for name in operation.outputs}
        self._ranges = _measure_ranges(data, computed, crops, threads)
        _clip_ranges(self._ranges, self._operations)

    @property
    def quantizable(self) -> tuple[Layer, ...]:
        """The layers that can be quantized: all but the last."""
        return self.layers[:-1]

    def quantize(self, form: str, keep: Set[str] = frozenset()) -> bytes:
        """Return the model in a form of INT8; the layers named in `keep` stay in floating point.

        `form` is a name in `FORMS`. Raises ConfigError for a name that no layer has.
        """
        check_names(keep, self.layers)
        bits = FORMS[form].activation_bits
        work = quantizer.Quantizer(bytearray(self._data))
        for operation in self._quantized(keep):
            scope = f"^{re.escape(operation.scope)}$"
            if bits is not None:  # LiteRT has no hardswish of 16 bits, which then stays in float32
                work.add_static_config(scope, ANY, bits, WEIGHT_BITS)
            elif operation.layer:
                work.add_weight_only_config(scope, ANY, WEIGHT_BITS)
        if not work.get_quantization_recipe():
            return self._data  # every layer is kept
        return make(work, None if bits is None else self._ranges)

    def _quantized(self, keep: Set[str]) -> Iterator[Operation]:
        """Yield the operations that are quantized, in the order of the model."""
        rows = [i for i, operation in enumerate(self._operations) if operation.layer]
        in_float: set[str] = set()  # tensors
        for operation in self._operations[rows[0] : rows[-1]]:
            kept = operation.layer in keep
            follows = not operation.layer and not in_float.isdisjoint(operation.inputs)
            if kept or follows:
                in_float.update(operation.outputs)
            else:
                yield operation


def _find_operations(data: bytes, proto: Any) -> list[Operation]:
    """Return the operations of a model, each layer with its name in the ONNX model."""
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]
    kinds = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    weights = _weights_by_shape(proto)
    names = [tensor.name.decode() for tensor in graph.tensors]
    found = []
    for operator in graph.operators:
        kind = kinds[model.operatorCodes[operator.opcodeIndex].builtinCode]
        outputs = tuple(names[i] for i in operator.outputs)
        layer = ""
        if kind in {name.value for name in LAYERS}:
            layer = _name_layer(_values(model, graph.tensors[operator.inputs[1]]), weights)
        inputs = tuple(names[i] for i in operator.inputs if i >= 0)
        scope = "".join(f"{name};" for name in outputs)
        found.append(Operation(kind, scope, inputs, outputs, layer))
    expected, named = {layer.name for layer in find_layers(proto)}, {o.layer for o in found} - {""}
    if named != expected:
        raise ArtifactError(
            f"expected the layers of the ONNX graph in the LiteRT model, found {len(named)} of "
            f"{len(expected)}; export in fp32, or in another format"
        )
    return found


def _weights_by_shape(proto: Any) -> dict[tuple[int, ...], list[tuple[str, Any]]]:
    """Return the names and weights of all layers in the axes of LiteRT, by their shape."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    nodes = {node.name: node for node in proto.graph.node}
    found: dict[tuple[int, ...], list[tuple[str, Any]]] = {}
    for layer in find_layers(proto):
        values = numpy_helper.to_array(tensors[nodes[layer.nodes[0]].input[1]])
        for shaped in _in_axes_of_litert(values):
            found.setdefault(shaped.shape, []).append((layer.name, shaped))
    return found


def _in_axes_of_litert(values: Any) -> list[Any]:
    """Return ONNX weights in the axes that LiteRT may have them in.

    Those of a convolution are O x I x H x W, in LiteRT O x H x W x I, or 1 x H x W x O if it is
    depthwise. Those of a linear layer are O x I in both, or I x O where ONNX has a MatMul.
    """
    if values.ndim != 4:
        return [values, values.T]
    shaped = [values.transpose(0, 2, 3, 1)]
    return [*shaped, values.transpose(1, 2, 3, 0)] if values.shape[1] == 1 else shaped


def _name_layer(values: Any, weights: dict[tuple[int, ...], list[tuple[str, Any]]]) -> str:
    """Return the name of the layer with these weights; empty if there is none."""
    for name, known in weights.get(values.shape, ()):
        if np.allclose(values, known, rtol=1e-6, atol=0):
            return name
    return ""


def _values(model: Any, tensor: Any) -> Any:
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    return data.view(np.float32).reshape(tensor.shape)


def _measure_ranges(
    data: bytes, names: Set[str], crops: Crops, threads: int | None
) -> dict[str, dict[str, Any]]:
    """Return the smallest and the largest value of each of these tensors, by its name.

    Constants must not be among them: weights have a range for each channel.
    """
    with quiet():  # it warns of the memory that the values of all tensors need
        interpreter = Interpreter(
            model_content=data,
            num_threads=thread_count(threads),
            # A delegate would compute several operations as one, without the values between them.
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    size = int(interpreter.get_input_details()[0]["shape"][0])
    known = [
        entry
        for entry in interpreter.get_tensor_details()
        if entry["dtype"] == np.float32 and entry["name"] in names
    ]
    ranges: dict[str, dict[str, Any]] = {}
    for batch, count in full_batches(crops, size):
        runner(**{INPUT_NAME: batch})
        del count  # the last batch repeats its crops, which changes no range
        for entry in known:
            value = interpreter.get_tensor(entry["index"])
            ends = np.array([value.min(), value.max()])
            old = ranges.get(entry["name"])
            if old is not None:
                ends = np.array([min(ends[0], old["min"].item()), max(ends[1], old["max"].item())])
            if not np.isfinite(ends).all():
                raise ArtifactError(
                    f"tensor {entry['name']}: expected a finite range on the calibration crops, "
                    f"found {ends[0]} to {ends[1]}; train the checkpoint again"
                )
            shape = (1,) * value.ndim
            low, high = (np.full(shape, end, np.float32) for end in ends)
            ranges[entry["name"]] = {"min": low, "max": high}
    return ranges


def _clip_ranges(ranges: dict[str, dict[str, Any]], operations: Sequence[Operation]) -> None:
    """Clip, in place, the ranges of what only hardswish reads: it is 0 below -3."""
    readers: dict[str, set[str]] = {}
    for operation in operations:
        for name in operation.inputs:
            readers.setdefault(name, set()).add(operation.kind)
    for name, kinds in readers.items():
        if kinds == {"HARD_SWISH"}:
            ranges[name]["min"] = np.maximum(ranges[name]["min"], np.float32(HARD_SWISH_ZERO))
