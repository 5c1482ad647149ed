"""Core ML: converts a network to an `.mlpackage` for Apple's systems, with its metadata in it.

The input is an RGB image of 224 x 224 pixels, so that an app passes a pixel buffer. Core ML runs on
Apple's systems alone, and a package is converted on any machine.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, Metadata, artifact_files
from halnet.errors import ConfigError
from halnet.export.config import Target
from halnet.export.quiet import quiet
from halnet.faces.alignment import CROP_SIZE
from halnet.network.model import AgeNet

with quiet():  # it prints which of its parts are missing outside of macOS
    import coremltools as ct

OLDEST_SYSTEM = ct.target.iOS15  # the first that runs this kind of model; macOS 12 too
LAYERS = ("conv", "linear", "matmul")  # operations with weights


class CoreMLNet(nn.Module):
    """An AgeNet whose input is an image as Core ML passes it."""

    def __init__(self, model: AgeNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return age, stddev and probabilities of a 1 x 3 x H x W image with values 0 to 255."""
        normalised = (image - self.model.mean) / self.model.std
        return self.model.summarise(self.model.network(normalised))


def trace(model: AgeNet, precision: str = "fp32", batch: int | None = None) -> Any:
    """Return the Core ML model of a network.

    The input `image` is an RGB image. The outputs are age and stddev (1, years) and probabilities
    (1 x 101), all float32. With the `precision` "fp16", the layers compute in float16; the
    normalisation before them and the softmax and expectation after them compute in float32.

    Raises ConfigError for another `batch` than 1: Core ML takes one image at a time.
    """
    if batch not in (None, 1):
        raise ConfigError(
            f"--batch {batch}: expected 1 for --format coreml, whose input is one image; leave out "
            "--batch"
        )
    example = torch.zeros(1, 3, CROP_SIZE, CROP_SIZE, dtype=torch.float32, device="cpu")
    half = ct.transform.FP16ComputePrecision(op_selector=_is_between_layers)
    with quiet(), torch.no_grad():
        return ct.convert(
            torch.jit.trace(CoreMLNet(model).eval(), example),  # type: ignore[no-untyped-call]
            source="pytorch",
            inputs=[ct.ImageType(INPUT_NAME, example.shape, color_layout=ct.colorlayout.RGB)],
            outputs=[ct.TensorType(name) for name in OUTPUT_NAMES],
            convert_to="mlprogram",
            minimum_deployment_target=OLDEST_SYSTEM,
            compute_precision=half if precision == "fp16" else ct.precision.FLOAT32,
            skip_model_load=True,
        )


def write_coreml(graph: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a Core ML model as a package that contains its weights and its metadata."""
    del target  # the package runs on every system since `OLDEST_SYSTEM`
    graph.user_defined_metadata.update(metadata.to_properties())
    graph.short_description = "Age of the face in an aligned crop, by HAL-Net"
    graph.license = metadata.licence
    with quiet():
        graph.save(str(path))
    for file in artifact_files(path):  # it lets only their owner read some of them
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data)


def _is_between_layers(operation: Any) -> bool:
    """Return whether layers with weights are both at or before, and at or after an operation."""
    return _finds_layer(operation, _before) and _finds_layer(operation, _after)


def _finds_layer(operation: Any, neighbours: Callable[[Any], Iterable[Any]]) -> bool:
    """Return whether an operation is a layer, or leads to one by its neighbours."""
    seen = {operation}
    queue = [operation]
    while queue:
        current = queue.pop()
        if current.op_type in LAYERS:
            return True
        new = {other for other in neighbours(current) if other is not None} - seen
        seen |= new
        queue += new
    return False


def _before(operation: Any) -> Iterable[Any]:
    for value in operation.inputs.values():
        for part in value if isinstance(value, list | tuple) else (value,):
            yield part.op


def _after(operation: Any) -> Iterable[Any]:
    for value in operation.outputs:
        yield from value.child_ops
