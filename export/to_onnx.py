"""ONNX: a network traced to one graph, from which every other format is made, and its file."""

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from halnet.alignment import CROP_SIZE
from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, Metadata
from halnet.errors import ArtifactError
from halnet.export.config import Target
from halnet.export.graph import HalfNet
from halnet.network.model import AgeNet

OPSET = 18  # the floor of PyTorch's exporter; every runtime here reads it


def trace(model: AgeNet, precision: str = "fp32", batch: int | None = None) -> Any:
    """Return the ONNX model of a network: uint8 N x 224 x 224 x 3 to age, stddev, probabilities.

    `precision` is fp32 or fp16, `batch` a fixed N, or None: any.
    """
    network: nn.Module = HalfNet(model) if precision == "fp16" else model
    # A batch of two where it is free: a batch of one would be taken for a constant.
    example = torch.zeros(batch or 2, CROP_SIZE, CROP_SIZE, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes=None if batch else ({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:  # stack traces name the paths of the machine that exported
        del node.metadata_props[:]
        node.doc_string = ""
    return proto


def write_onnx(proto: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a traced network as an ONNX file: no external data, metadata inside."""
    del target  # the file runs anywhere
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    onnx.helper.set_model_props(model, metadata.to_properties())
    onnx.checker.check_model(model, full_check=True)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ArtifactError(f"{path}: the exporter left weights outside the file")
    path.write_bytes(model.SerializeToString())
