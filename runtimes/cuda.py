"""The NVIDIA GPUs of this machine, as the driver lists them.

The driver's own library is asked before any CUDA library is loaded. Without a driver, several CUDA
libraries print messages, silently run on the CPU, or end the process.
"""

import ctypes
from dataclasses import dataclass

from halnet.errors import RuntimeUnavailableError

DRIVER = "libcuda.so.1"
# Values of CUdevice_attribute in the API of the driver.
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True)
class Gpu:
    """One GPU, as the driver lists it."""

    index: int
    name: str
    capability: tuple[int, int]  # compute capability, such as (8, 6)

    @property
    def device(self) -> str:
        """The name of the device, such as "cuda:0"."""
        return f"cuda:{self.index}"

    @property
    def architecture(self) -> str:
        """The compute capability as TensorRT names it, such as "SM86" for 8.6."""
        return "SM{}{}".format(*self.capability)


def find_gpus() -> list[Gpu]:
    """Return the GPUs of this machine; RuntimeUnavailableError without a driver or a GPU."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise RuntimeUnavailableError(
            f"there is no CUDA device: the NVIDIA driver ({DRIVER}) is not installed; install it"
        ) from error
    count = ctypes.c_int()
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        raise RuntimeUnavailableError(
            f"there is no CUDA device: the NVIDIA driver finds none (status {status}); check with "
            "nvidia-smi"
        )
    return [_describe(driver, index) for index in range(count.value)]


def pick_gpu(device: str, runtime: str) -> Gpu:
    """Return the GPU that `device` names: "auto", "cuda" or "cuda:N".

    `runtime` is the subject of error messages. Raises RuntimeUnavailableError for any other name
    and for a GPU that is not there.
    """
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
