"""LiteRT: converts a network to a `.tflite` model and writes it with its metadata.

LiteRT has a converter of its own for networks of PyTorch, so that these models are not made from
the ONNX graph. What the converter prints about its steps is not shown.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litert_torch
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import algorithm_manager, qtyping, quantizer
from torch import Tensor, nn

from halnet.artifact import INPUT_NAME, Metadata
from halnet.cores import thread_count
from halnet.errors import ArtifactError
from halnet.export.config import Target
from halnet.export.quiet import quiet
from halnet.faces.alignment import CROP_SIZE
from halnet.network.model import AgeNet
from halnet.runtimes.litert_file import add_properties, free_batch

if TYPE_CHECKING:  # it needs ONNX Runtime, which FP32 and FP16 do not
    from halnet.calibration.sessions import AgeFunction

HALF = qtyping.OpQuantizationConfig(
    weight_tensor_config=qtyping.TensorQuantizationConfig(
        num_bits=16, dtype=qtyping.TensorDataType.FLOAT
    ),
    compute_precision=qtyping.ComputePrecision.FLOAT,
    explicit_dequantize=True,
)
LAYERS = (  # operations with weights
    qtyping.TFLOperationName.CONV_2D,
    qtyping.TFLOperationName.DEPTHWISE_CONV_2D,
    qtyping.TFLOperationName.FULLY_CONNECTED,
)


class LiteRTNet(nn.Module):
    """An AgeNet with named outputs, whose graph takes any number of crops.

    The sum with `keepdim` is what makes that possible: `age[:, None]` would become a reshape to a
    fixed number of crops.
    """

    def __init__(self, model: AgeNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return the outputs of AgeNet by their names."""
        probabilities = self.model.head.probabilities(self.model.logits(image))
        age = (probabilities * self.model.ages).sum(dim=1, keepdim=True)
        variance = (probabilities * (self.model.ages - age) ** 2).sum(dim=1)
        return {"age": age.sum(dim=1), "stddev": variance.sqrt(), "probabilities": probabilities}


def trace(model: AgeNet, precision: str = "fp32", batch: int | None = None) -> bytes:
    """Return the `.tflite` model of a network, with the input and outputs of the artifact contract.

    The input is N x 224 x 224 x 3 uint8 RGB. The outputs are age and stddev (N, years) and
    probabilities (N x 101), all float32. `precision` is "fp32" or "fp16", what the weights are
    stored in; a CPU computes in float32. `batch` is a fixed N; with None, the graph takes any N.
    """
    shape = (batch or 1, CROP_SIZE, CROP_SIZE, 3)
    example = {INPUT_NAME: torch.zeros(shape, dtype=torch.uint8, device="cpu")}
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder, "model.tflite")
        litert_torch.convert(LiteRTNet(model).eval(), sample_kwargs=example).export(str(path))
        data = path.read_bytes()
    data = _store_as_half(data) if precision == "fp16" else data
    return data if batch else free_batch(data)


def write_litert(graph: bytes, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a `.tflite` model as one file that contains its weights and its metadata."""
    del target  # the file runs on any machine
    path.write_bytes(add_properties(graph, metadata.to_properties()))


def open_age_function(graph: Any, threads: int | None = None) -> "AgeFunction":
    """Return a function that runs a `.tflite` model on the CPU and returns its ages.

    An ONNX model, such as the one that it is compared with, is run by ONNX Runtime.
    """
    if not isinstance(graph, bytes):
        from halnet.calibration.sessions import open_age_function as open_onnx

        return open_onnx(graph, threads)
    interpreter = Interpreter(model_content=graph, num_threads=thread_count(threads))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    return lambda crops: runner(**{INPUT_NAME: crops})["age"]


def _store_as_half(data: bytes) -> bytes:
    """Return a model whose weights are stored as float16, and converted when it is loaded."""
    half = quantizer.Quantizer(bytearray(data))
    for operation in LAYERS:
        half.update_quantization_recipe(
            ".*", operation, HALF, algorithm_manager.AlgorithmName.FLOAT_CASTING
        )
    return make(half)


def make(recipe: Any, ranges: Any = None) -> bytes:
    """Return the model that a `quantizer.Quantizer` makes by its recipe.

    `ranges` are those of the tensors, where integers need them. Raises ArtifactError if the
    quantizer makes no model.
    """
    with quiet():
        result = recipe.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    if result.quantized_model is None:
        raise ArtifactError("the quantizer of LiteRT made no model; export with --precision fp32")
    return bytes(result.quantized_model)
