"""PyTorch back end: `.safetensors` checkpoints on the CPU or a CUDA device, in FP32.

This is the reference that every other runtime is verified against.
"""

from pathlib import Path
from typing import Any

import numpy as np

from halnet.artifact import OUTPUT_NAMES
from halnet.errors import RuntimeUnavailableError
from halnet.results import Outputs
from halnet.runtimes.base import Crops, RuntimeBase, RuntimeSpec


class PyTorchRuntime(RuntimeBase):
    """A checkpoint run eagerly by PyTorch. `threads` sets PyTorch's count for the whole process."""

    def __init__(
        self,
        model: str | Path,
        device: str = "auto",
        threads: int | None = None,
        mode: str = "latency",
    ) -> None:
        torch = _import_torch()
        from halnet.training.checkpoint import load_checkpoint
        from halnet.training.device import resolve_device

        target = resolve_device(device)
        if threads:
            torch.set_num_threads(threads)
        network, metadata = load_checkpoint(model)
        self._torch = torch
        self._device = target
        self._network: Any = network.to(target).eval()
        on_cpu = target.type == "cpu"
        self.spec = RuntimeSpec(
            "pytorch",
            torch.__version__,
            str(target),
            torch.get_num_threads() if on_cpu else 0,
            str(model),
            metadata,
            mode=mode,
        )

    def close(self) -> None:
        """Let the network go."""
        self._network = None

    def _infer(self, crops: Crops) -> Outputs:
        torch = self._torch
        # On CUDA, cuDNN would else round the inputs of convolutions to TF32.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            batch = torch.from_numpy(crops).to(self._device)
            outputs = dict(zip(OUTPUT_NAMES, self._network(batch), strict=True))
        return Outputs(**{name: np.asarray(value.cpu()) for name, value in outputs.items()})


def devices() -> list[str]:
    """Return "cpu" and the CUDA devices that PyTorch finds."""
    torch = _import_torch()
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]


def _import_torch() -> Any:
    try:
        import safetensors.torch  # noqa: F401
        import torch
        import torchvision  # noqa: F401
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"runtime pytorch is not installed ({error.name} is missing); "
            "pip install 'halnet[train]'"
        ) from error
    return torch
