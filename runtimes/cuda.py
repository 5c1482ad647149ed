"""The NVIDIA driver, asked through its own library: which GPUs are there.

No CUDA library is loaded before this has answered: several of them print, fall back or end the
process where there is no driver.
"""

import ctypes
from dataclasses import dataclass

from halnet.errors import RuntimeUnavailableError

DRIVER = "libcuda.so.1"
# Of the driver's enumeration CUdevice_attribute.
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver sees it."""

    index: int
    name: str
    capability: tuple[int, int]  # compute capability, (8, 6)

    @property
    def device(self) -> str:
        """Return "cuda:0"."""
        return f"cuda:{self.index}"

    @property
    def architecture(self) -> str:
        """Return "SM86", as TensorRT names compute capability 8.6."""
        return "SM{}{}".format(*self.capability)


def find_gpus() -> list[Gpu]:
    """Return the GPUs of this machine; RuntimeUnavailableError where there is no driver or GPU."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"there is no CUDA device: the NVIDIA driver ({DRIVER}) is not installed here"
        ) from error
    count = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        raise RuntimeUnavailableError(
            f"there is no CUDA device: the NVIDIA driver finds none (status {status}); see "
            "nvidia-smi"
        )
    return [_describe(driver, index) for index in range(count.value)]


def pick_gpu(device: str, runtime: str) -> Gpu:
    """Return the GPU that "auto", "cuda" or "cuda:N" names; RuntimeUnavailableError else."""
    kind, _, number = device.lower().partition(":")
    index = int(number) if number.isdigit() else 0
    if kind not in ("auto", "cuda") or (number and not number.isdigit()):
        raise RuntimeUnavailableError(
            f"runtime {runtime}: expected device cuda or cuda:N, found {device}"
        )
    gpus = find_gpus()
    if index >= len(gpus):
        names = ", ".join(f"{gpu.device} ({gpu.name})" for gpu in gpus)
        raise RuntimeUnavailableError(f"runtime {runtime}: expected {names}, found {device}")
    return gpus[index]


def _describe(driver: ctypes.CDLL, index: int) -> Gpu:
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(handle), index)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, handle)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, handle)
    return Gpu(index, name.value.decode(), (major.value, minor.value))
