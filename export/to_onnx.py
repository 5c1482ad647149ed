"""ONNX: one file by the artifact contract, checked before it takes its place."""

import contextlib
import io
import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch

from halnet.alignment import CROP_SIZE
from halnet.artifact import INPUT_NAME, OUTPUT_NAMES
from halnet.errors import ArtifactError
from halnet.files import replacing
from halnet.training.checkpoint import load_checkpoint
from halnet.training.model import AgeNet

OPSET = 18  # the floor of PyTorch's exporter; every runtime here reads it


def export_onnx(checkpoint: Path, path: Path) -> None:
    """Write the FP32 ONNX artifact of a checkpoint: dynamic batch, no external data."""
    model, metadata = load_checkpoint(checkpoint)
    proto = trace(model)
    onnx.helper.set_model_props(proto, replace(metadata, precision="fp32").to_properties())
    onnx.checker.check_model(proto, full_check=True)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise ArtifactError(f"{path}: the exporter left weights outside the file")
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())


def trace(model: AgeNet) -> Any:
    """Return the ONNX model of a network: uint8 N x 224 x 224 x 3 to age, stddev, probabilities."""
    # A batch of two: a batch of one would be taken for a constant.
    example = torch.zeros(2, CROP_SIZE, CROP_SIZE, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:  # stack traces name the paths of the machine that exported
        del node.metadata_props[:]
        node.doc_string = ""
    return proto
