"""ONNX: traces a network to one graph, from which every format is made, and writes it as a file."""

from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

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
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(shape, dtype=torch.uint8, device="cpu"),),
        dynamo=True,
        opset_version=TRACED_OPSET,
        input_names=[INPUT_NAME],
        output_names=list(OUTPUT_NAMES),
        dynamic_shapes=None if batch else ({0: torch.export.Dim("batch")},),
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
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    onnx.helper.set_model_props(model, metadata.to_properties())
    lower_opset(model, max(OPSET, oldest_opset(model)))
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ArtifactError(
            f"{path}: expected all weights inside the graph, found references to another file; "
            "trace the network again"
        )
    path.write_bytes(model.SerializeToString())
