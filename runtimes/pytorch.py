"""PyTorch back end: `.safetensors` checkpoints on the CPU or a CUDA device, in FP32.

This is the reference that every other runtime is verified against.
"""

import os
from pathlib import Path

import numpy as np

from halnet.artifact import OUTPUT_NAMES
from halnet.errors import RuntimeUnavailableError
from halnet.results import Outputs
from halnet.runtimes.base import Crops, RuntimeBase, RuntimeSpec, check_crops


class PyTorchRuntime(RuntimeBase):
    """A checkpoint run eagerly by PyTorch. `threads` sets PyTorch's count for the whole process."""

    def __init__(self, model: str | Path, device: str = "auto", threads: int | None = None) -> None:
        try:
            import torch

            from halnet.training.checkpoint import load_checkpoint
        except ImportError as error:
            raise RuntimeUnavailableError(
                f"runtime pytorch is not installed ({error.name} is missing); "
                "pip install 'halnet[train]'"
            ) from error
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device != "cpu" and not device.startswith("cuda"):
            raise RuntimeUnavailableError(
                f"runtime pytorch: expected device cpu or cuda, found {device}"
            )
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise RuntimeUnavailableError(
                "runtime pytorch: CUDA was asked for, but PyTorch finds no CUDA device; "
                "install the NVIDIA driver and a CUDA build of torch, or use device cpu"
            )
        if threads:
            torch.set_num_threads(threads)
        network, metadata = load_checkpoint(model)
        self._torch = torch
        self._device = device
        self._network = network.to(device).eval()
        self.spec = RuntimeSpec(
            "pytorch",
            torch.__version__,
            device,
            torch.get_num_threads() if device == "cpu" else os.cpu_count() or 1,
            str(model),
            metadata,
        )

    def run(self, images: Crops) -> Outputs:
        """Return the outputs for N x 224 x 224 x 3 uint8 RGB crops."""
        torch = self._torch
        with torch.inference_mode():
            batch = torch.from_numpy(check_crops(images)).to(self._device)
            outputs = dict(zip(OUTPUT_NAMES, self._network(batch), strict=True))
        return Outputs(**{name: np.asarray(value.cpu()) for name, value in outputs.items()})
