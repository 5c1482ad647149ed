"""ONNX Runtime back end: `.onnx` artifacts on the CPU."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import INPUT_NAME, OUTPUT_NAMES, Metadata
from halnet.errors import ArtifactError, RuntimeUnavailableError
from halnet.results import Outputs
from halnet.runtimes.base import Crops, RuntimeBase, RuntimeSpec, check_crops

# How a tensor's `external_data` entry "location" starts in the file: key (field 1) of length 8.
EXTERNAL_DATA = b"\x0a\x08location"

PROVIDERS = {"cpu": "CPUExecutionProvider"}


class OnnxRuntime(RuntimeBase):
    """An ONNX artifact in an `onnxruntime.InferenceSession`. Safe to share between threads."""

    def __init__(self, model: str | Path, device: str = "auto", threads: int | None = None) -> None:
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise RuntimeUnavailableError(
                "runtime onnxruntime is not installed; pip install 'halnet[onnxruntime]'"
            ) from error
        device = "cpu" if device == "auto" else device
        if device not in PROVIDERS:
            raise RuntimeUnavailableError(
                f"runtime onnxruntime: expected device {' or '.join(PROVIDERS)}, found {device}; "
                "for CUDA use runtime pytorch with a checkpoint"
            )
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors come as exceptions
        count = threads or os.cpu_count() or 1
        options.intra_op_num_threads = count
        options.inter_op_num_threads = 1
        try:
            data = Path(model).read_bytes()
        except OSError as error:
            raise ArtifactError(f"{model}: cannot be read: {error.strerror}") from error
        if EXTERNAL_DATA in data:
            raise ArtifactError(
                f"{model}: expected one whole file, found weights in external data, which could "
                "name any file of this machine; export the checkpoint again"
            )
        try:
            self._session: Any = ort.InferenceSession(data, options, providers=[PROVIDERS[device]])
        except Exception as error:
            raise ArtifactError(
                f"{model}: ONNX Runtime cannot load it: {_first_line(error)}"
            ) from error
        provider = self._session.get_providers()[0]
        if provider != PROVIDERS[device]:
            raise RuntimeUnavailableError(
                f"runtime onnxruntime: expected {PROVIDERS[device]}, found {provider}"
            )
        properties = self._session.get_modelmeta().custom_metadata_map
        metadata = Metadata.from_properties(properties, model)
        self._check_signature(model)
        self.spec = RuntimeSpec(
            "onnxruntime", ort.__version__, provider, count, str(model), metadata
        )

    def _check_signature(self, model: str | Path) -> None:
        inputs = [(node.name, node.type) for node in self._session.get_inputs()]
        outputs = tuple(node.name for node in self._session.get_outputs())
        if inputs != [(INPUT_NAME, "tensor(uint8)")] or outputs != OUTPUT_NAMES:
            raise ArtifactError(
                f"{model}: expected the input {INPUT_NAME} (uint8) and the outputs "
                f"{', '.join(OUTPUT_NAMES)}, found {inputs} and {', '.join(outputs)}"
            )

    def close(self) -> None:
        """Let the session go."""
        self._session = None

    def run(self, images: Crops) -> Outputs:
        """Return the outputs for N x 224 x 224 x 3 uint8 RGB crops."""
        age, stddev, probabilities = self._session.run(
            OUTPUT_NAMES, {INPUT_NAME: check_crops(images)}
        )
        return Outputs(np.asarray(age), np.asarray(stddev), np.asarray(probabilities))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
