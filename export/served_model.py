"""Served model: an artifact as a model server gets it, and what the file of a server provides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from halnet.ages import N_AGES
from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, Metadata
from halnet.faces.alignment import CROP_SIZE
from halnet.packages import import_library, import_openvino
from halnet.runtimes.base import BatchLimits, check_signature, library_errors
from halnet.runtimes.onnx_file import read_onnx
from halnet.runtimes.sidecar import Sidecar

FREE = -1  # in a shape: any size
NEEDED_BY = "halnet export --repository"


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a model."""

    name: str
    dtype: str  # "uint8" or "float32"
    shape: tuple[int, ...]  # FREE: any size


@dataclass(frozen=True)
class ServedModel:
    """A model of a repository, as its model file states it."""

    name: str  # such as "halnet_fp32_onnx"
    form: str  # a key of `halnet.export.formats.FORMATS`
    metadata: Metadata
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batches: BatchLimits = field(default_factory=BatchLimits)  # of an engine; others: any number


@dataclass(frozen=True)
class Server:
    """A model server that repositories are written for."""

    title: str
    # Name of an export format: its function reads a model file, which it gets after the model's
    # name, as the server reads the file. Other formats are left out.
    readers: Mapping[str, Callable[[str, Path], ServedModel]]
    # Returns why the server cannot run an artifact (format, path); empty: it can.
    why_not: Callable[[str, Path], str]
    # Returns the text files of a repository (its models, its name) by their paths in it.
    write_texts: Callable[[Sequence[ServedModel], str], dict[str, str]]
    # Raises ArtifactError where the text files of a repository (its folder) contradict the models.
    check: Callable[[Path, Sequence[ServedModel]], None]


def read_by_onnx(name: str, path: Path) -> ServedModel:
    """Return what an ONNX file states; ArtifactError if it is damaged or no artifact."""
    onnx = import_library("onnx", NEEDED_BY, "export")
    with library_errors(path, "onnx cannot read it"):
        model = onnx.load_model_from_string(read_onnx(path))
        inputs = tuple(_onnx_tensor(onnx, value) for value in model.graph.input)
        outputs = tuple(_onnx_tensor(onnx, value) for value in model.graph.output)
        properties = {entry.key: entry.value for entry in model.metadata_props}
    metadata = Metadata.from_properties(properties, path)
    _check_tensors(path, inputs, outputs)
    return ServedModel(name, "onnx", metadata, inputs, outputs)


def read_by_openvino(name: str, path: Path) -> ServedModel:
    """Return what OpenVINO finds in an ONNX file or in an IR, of which `path` is the XML file.

    Raises ArtifactError if it is damaged or no artifact.
    """
    from halnet.runtimes.ov import read_network

    network, metadata = read_network(import_openvino(NEEDED_BY).Core(), path)
    inputs = tuple(_openvino_tensor(port) for port in network.inputs)
    outputs = tuple(_openvino_tensor(port) for port in network.outputs)
    _check_tensors(path, inputs, outputs)
    form = "onnx" if path.suffix == ".onnx" else "openvino"
    return ServedModel(name, form, metadata, inputs, outputs)


def read_engine(name: str, path: Path) -> ServedModel:
    """Return what the sidecar of a TensorRT engine states. Only its GPU can open the engine itself.

    Raises ArtifactError if the sidecar is missing or damaged.
    """
    sidecar = Sidecar.read(path)
    minimum, _, maximum = sidecar.batches
    count = FREE if minimum < maximum else maximum
    return ServedModel(
        name,
        "tensorrt",
        Metadata.from_properties(sidecar.properties, path),
        (Tensor(INPUT_NAME, "uint8", (count, CROP_SIZE, CROP_SIZE, 3)),),
        tuple(
            Tensor(output, "float32", (count, N_AGES) if output == "probabilities" else (count,))
            for output in OUTPUT_NAMES
        ),
        BatchLimits(minimum, maximum),
    )


def _onnx_tensor(onnx: Any, value: Any) -> Tensor:
    kind = value.type.tensor_type
    sizes = (d.dim_value if d.HasField("dim_value") else FREE for d in kind.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return Tensor(value.name, str(dtype), tuple(sizes))


def _openvino_tensor(port: Any) -> Tensor:
    sizes = (FREE if d.is_dynamic else d.get_length() for d in port.partial_shape)
    return Tensor(port.any_name, str(port.element_type.to_dtype()), tuple(sizes))


def _check_tensors(path: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    names = tuple(tensor.name for tensor in outputs)
    check_signature(path, [(tensor.name, tensor.dtype) for tensor in inputs], names, "uint8")
