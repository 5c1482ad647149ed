"""The back end PyTorch: it runs `.safetensors` checkpoints on the CPU or a CUDA device.

It runs the trained network eagerly and in float32. Every artifact is compared with it.
"""

import logging
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from halnet.artifact import OUTPUT_NAMES
from halnet.packages import needs
from halnet.results import Outputs
from halnet.runtimes.base import Crops, RuntimeBase, RuntimeOptions, RuntimeSpec

if TYPE_CHECKING:
    from halnet.network.checkpoint import Checkpoint

logger = logging.getLogger("halnet")


class PyTorchRuntime(RuntimeBase):
    """A checkpoint that PyTorch runs eagerly. Several threads may share it.

    `model` is the path of a checkpoint, or a loaded checkpoint. The option `threads` sets the
    number of threads of PyTorch in the whole process; without it, PyTorch keeps its number, but
    gets no more than there are usable cores.
    """

    def _open(self, model: "str | Path | Checkpoint", options: RuntimeOptions) -> None:
        torch = _import_torch()
        from halnet.network.checkpoint import Checkpoint, kept_random_state, load_checkpoint
        from halnet.network.device import resolve_device, set_threads

        target = resolve_device(options.device)
        on_cpu = target.type == "cpu"
        if on_cpu:
            set_threads(options.threads)
        with kept_random_state():
            checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        # `to` moves a module in place, but the loaded checkpoint of a caller must not move.
        network = checkpoint.model if on_cpu else deepcopy(checkpoint.model).to(target)
        self._torch = torch
        self._clock = _Clock(torch, target) if target.type == "cuda" else None
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
        super().close()
        self._network = None

    def _after_fork(self) -> None:
        """Use one thread: more of them do not work in a forked process, and neither does CUDA."""
        if self._device.type != "cpu":
            super()._after_fork()
        self._torch.set_num_threads(1)
        self.spec = replace(self.spec, threads=1)
        logger.warning("PyTorch runs on one thread, because this process was forked")

    def _infer(self, crops: Crops) -> Outputs:
        torch = self._torch
        # Without the flag, cuDNN rounds the inputs of convolutions to TF32 on CUDA. The program
        # may have turned autocast on, which would round too.
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, enabled=False),
            torch.backends.cudnn.flags(allow_tf32=False),
        ):
            self._mark()
            batch = torch.from_numpy(crops).to(self._device)
            self._mark()
            outputs = dict(zip(OUTPUT_NAMES, self._network(batch), strict=True))
            self._mark()
        found = Outputs(**{name: np.asarray(value.cpu()) for name, value in outputs.items()})
        self._mark()
        return found


class _Clock:
    """The clock of the GPU, read by events in PyTorch's stream."""

    def __init__(self, torch: Any, device: Any) -> None:
        self._torch, self._device = torch, device

    def mark(self) -> Any:
        """Return an event that the GPU passes when the work before it is done."""
        event = self._torch.cuda.Event(enable_timing=True)
        event.record(self._torch.cuda.current_stream(self._device))
        return event

    def between(self, first: Any, second: Any) -> float:
        """Return the milliseconds between two events, the second of which is waited for."""
        second.synchronize()
        return float(first.elapsed_time(second))


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
