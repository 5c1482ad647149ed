import pytest
import torch

from halnet import cores
from halnet.cores import Cores
from halnet.errors import RuntimeUnavailableError
from halnet.network.device import resolve_device, set_threads


def test_auto_prefers_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("banana", 1, "expected the device auto, cpu, cuda or cuda:N, found banana"),
        ("cuda:x", 1, "found cuda:x"),
        ("cuda", 0, "expected a CUDA device for cuda, found none; install the NVIDIA driver"),
        ("cuda:2", 2, "expected a CUDA device from cuda:0 to cuda:1, found cuda:2"),
    ],
)
def test_a_device_that_does_not_exist_is_an_error(
    name: str, count: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(RuntimeUnavailableError, match=message):
        resolve_device(name)


@pytest.mark.parametrize(
    ("usable", "threads", "expected"), [(1, None, 1), (64, None, 2), (1, 2, 2)]
)
def test_pytorch_has_no_more_threads_than_usable_cores(
    usable: int, threads: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "find_cores", lambda: Cores(usable, 64))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        set_threads(threads)
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
