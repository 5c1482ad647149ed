"""PyTorch devices: the requested device is used, or an error says what to do; CPU threads."""

import re

import torch

from halnet.cores import thread_count
from halnet.errors import RuntimeUnavailableError


def resolve_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA if there is a device, else CPU), "cpu", "cuda", "cuda:N".

    Raises RuntimeUnavailableError for any other name, and for a CUDA device that does not exist.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not match:
        raise RuntimeUnavailableError(
            f"PyTorch: expected the device auto, cpu, cuda or cuda:N, found {name}"
        )
    if not torch.cuda.is_available():
        raise RuntimeUnavailableError(
            f"PyTorch: expected a CUDA device for {name}, found none; install the NVIDIA driver "
            "and a CUDA build of torch, or use the device cpu"
        )
    index = int(match[1] or 0)
    count = torch.cuda.device_count()
    if index >= count:
        raise RuntimeUnavailableError(
            f"PyTorch: expected a CUDA device from cuda:0 to cuda:{count - 1}, found {name}"
        )
    return torch.device("cuda", index)


def set_threads(threads: int | None) -> None:
    """Set the number of threads of PyTorch on the CPU, in the whole process.

    With None, PyTorch keeps its number, unless this process may use fewer cores.
    """
    count = thread_count(threads)
    if threads or torch.get_num_threads() > count:
        torch.set_num_threads(count)
