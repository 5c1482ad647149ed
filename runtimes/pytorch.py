"""The back end PyTorch: it runs `.safetensors` checkpoints on the CPU or a CUDA device.

It runs the trained network eagerly and in float32. Every artifact is compared with it.
"""

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from halnet.artifact import OUTPUT_NAMES
from halnet.packages import needs
from halnet.results import Outputs
from halnet.runtimes.base import Crops, RuntimeBase, RuntimeOptions, RuntimeSpec

if TYPE_CHECKING:
    from halnet.network.checkpoint import Checkpoint


class PyTorchRuntime(RuntimeBase):
    """A checkpoint that PyTorch runs eagerly. Several threads may share it.

    `model` is the path of a checkpoint, or a loaded checkpoint. The option `threads` sets the
    number of threads of PyTorch in the whole process.
    """

    def __init__(
        self, model: "str | Path | Checkpoint", options: RuntimeOptions = RuntimeOptions()
    ) -> None:
        torch = _import_torch()
        from halnet.network.checkpoint import Checkpoint, load_checkpoint
        from halnet.network.device import resolve_device

        target = resolve_device(options.device)
        if options.threads:
            torch.set_num_threads(options.threads)
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        on_cpu = target.type == "cpu"
        # `to` moves a module in place, but the loaded checkpoint of a caller must not move.
        network = checkpoint.model if on_cpu else deepcopy(checkpoint.model).to(target)
        self._torch = torch
        self._device = target
        self._network: Any = network.eval()
        self.spec = RuntimeSpec(
            "pytorch",
            torch.__version__,
            str(target),
            torch.get_num_threads() if on_cpu else 0,
            str(checkpoint.path),
            checkpoint.metadata,
            mode=options.mode,
        )

    def close(self) -> None:
        """Release the network."""
        self._network = None

    def _infer(self, crops: Crops) -> Outputs:
        torch = self._torch
        # Without this flag, cuDNN rounds the inputs of convolutions to TF32 on CUDA.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            batch = torch.from_numpy(crops).to(self._device)
            outputs = dict(zip(OUTPUT_NAMES, self._network(batch), strict=True))
        return Outputs(**{name: np.asarray(value.cpu()) for name, value in outputs.items()})


def devices() -> list[str]:
    """Return "cpu" and the CUDA devices that PyTorch finds."""
    torch = _import_torch()
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]


def _import_torch() -> Any:
    with needs("runtime pytorch", "pytorch"):
        import safetensors.torch  # noqa: F401
        import torch
        import torchvision  # noqa: F401
    return torch
