"""Devices: what was asked for, or an error that names the cure."""

import re

import torch

from halnet.errors import RuntimeUnavailableError


def resolve_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA where there is one), "cpu", "cuda" or "cuda:N".

    Raises RuntimeUnavailableError for any other name and for a CUDA device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not match:
        raise RuntimeUnavailableError(f"PyTorch: expected device auto, cpu or cuda, found {name}")
    if not torch.cuda.is_available():
        raise RuntimeUnavailableError(
            f"PyTorch: {name} was asked for, but there is no CUDA device; install the NVIDIA "
            "driver and a CUDA build of torch, or use device cpu"
        )
    index = int(match[1] or 0)
    if index >= torch.cuda.device_count():
        raise RuntimeUnavailableError(
            f"PyTorch: {name} was asked for, but there are {torch.cuda.device_count()} CUDA devices"
        )
    return torch.device("cuda", index)
