"""ONNX: traces a network to one graph, from which every format is made, and writes it as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, Metadata
from halnet.errors import ArtifactError
from halnet.export.config import Target
from halnet.export.graph import HalfNet
from halnet.export.opset import lower_opset, oldest_opset
from halnet.faces.alignment import CROP_SIZE
from halnet.network.model import AgeNet

TRACED_OPSET = 18  # the oldest that PyTorch's exporter writes
OPSET = 15  # of the files; a network with newer operators gets the opset of these


def trace(model: AgeNet, precision: str = "fp32", batch: int | None = None) -> Any:
    """Return the ONNX model of a network, with the inputs and outputs of the artifact contract.

    The input is N x 224 x 224 x 3 uint8 RGB. The outputs are age and stddev (N, years) and
    probabilities (N x 101), all float32. `precision` is "fp32" or "fp16", what the backbone
    computes in. `batch` is a fixed N; with None, the graph takes any N.
    """
    network: nn.Module = HalfNet(model) if precision == "fp16" else model
    # The example of a free batch size is a batch of two: a one would be traced as a constant.
    shape = (batch or 2, CROP_SIZE, CROP_SIZE, 3)
    example = torch.zeros(shape, dtype=torch.uint8, device="cpu")
    return export_graph(network, example, OUTPUT_NAMES, is_free=batch is None)


def export_graph(
    network: nn.Module, example: Tensor, outputs: Sequence[str], is_free: bool = False
) -> Any:
    """Return the ONNX model of a network whose only input is like `example`.

    If `is_free`, the graph takes any batch size.
    """
    program = torch.onnx.export(
        network.eval(),
        (example,),
        dynamo=True,
        opset_version=TRACED_OPSET,
        input_names=[INPUT_NAME],
        output_names=list(outputs),
        dynamic_shapes=({0: torch.export.Dim("batch")},) if is_free else None,
        external_data=False,
        verbose=False,  # it would print
    )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:  # stack traces contain paths of the machine that exports
        del node.metadata_props[:]
        node.doc_string = ""
    return proto


def write_onnx(proto: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a traced network as one ONNX file that contains its weights and its metadata.

    Raises ArtifactError where weights would have to be stored in another file.
    """
    del target  # the file runs on any machine
    write_model(proto, metadata.to_properties(), path)


def write_model(
    proto: Any, properties: dict[str, str], path: Path, opset: int | None = None
) -> None:
    """Write an ONNX model with text properties as one file.

    Without an `opset`, it gets the one that most runtimes open. Raises ArtifactError where weights
    would have to be stored in another file, and if the model has an operator that is newer than the
    opset.
    """
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    onnx.helper.set_model_props(model, properties)
    lower_opset(model, max(OPSET, oldest_opset(model)) if opset is None else opset)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ArtifactError(
            f"{path}: expected all weights inside the graph, found references to another file; "
            "trace the network again"
        )
    path.write_bytes(model.SerializeToString())
