"""The GPUs that the NVIDIA driver lists, and machines without a driver."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from halnet.errors import RuntimeUnavailableError
from halnet.runtimes.cuda import find_gpus, pick_gpu


class Driver:
    """Stands for libcuda.so.1 on a machine with `count` GPUs of compute capability 8.9."""

    def __init__(self, count: int, status: int = 0) -> None:
        self.count, self.status = count, status

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, handle: Any, index: int) -> int:  # noqa: N802
        handle._obj.value = 100 + index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, handle: Any) -> int:  # noqa: N802
        name.value = f"GPU {handle.value}".encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, handle: Any) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 9}[attribute]
        return 0


def test_gpus_are_as_the_driver_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(2))
    first, second = find_gpus()
    assert (first.device, first.name, first.capability) == ("cuda:0", "GPU 100", (8, 9))
    assert pick_gpu("auto", "x") == pick_gpu("cuda", "x") == first
    assert pick_gpu("cuda:1", "x") == second


@pytest.mark.parametrize("device", ["cuda:2", "cuda:x", "gpu"])
def test_a_gpu_that_is_not_there_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(2))
    with pytest.raises(RuntimeUnavailableError, match=f"^runtime x: expected .*, found {device}$"):
        pick_gpu(device, "x")


@pytest.mark.parametrize("driver", [Driver(0), Driver(1, status=100)])
def test_a_driver_without_a_gpu_is_an_error(
    monkeypatch: pytest.MonkeyPatch, driver: Driver
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    with pytest.raises(RuntimeUnavailableError, match="the NVIDIA driver finds none"):
        find_gpus()


def test_a_machine_without_a_driver_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> SimpleNamespace:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(
        RuntimeUnavailableError, match=r"driver \(libcuda\.so\.1\) is not installed"
    ):
        find_gpus()
