"""The queue: many requests at once, clients that leave, and requests that take too long."""

import asyncio
import os
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from halnet.benchmarks.samples import portrait
from halnet.benchmarks.usage import resident_memory
from halnet.serving.config import Limits
from tests.serving.client import PORTRAIT, form, receive, send

HEAD = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PORTRAIT)}\r\n\r\n".encode()


class Gate:
    """A detector that waits until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.calls = 0

    def __call__(self, photo: np.ndarray) -> list[Any]:
        self.calls += 1
        assert self.opened.wait(60)
        return [portrait()[1]]


@pytest.fixture
def gate() -> Any:
    made = Gate()
    yield made
    made.opened.set()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)


def connect(address: str) -> socket.socket:
    host, port = urlsplit(address).netloc.split(":")
    return socket.create_connection((host, int(port)), 60)


async def _send_all(address: str, count: int, when_refused: Callable[[], None]) -> Counter[str]:
    """Send so many photos at once, and return the answers by their status."""
    host, port = urlsplit(address).netloc.split(":")
    refused = 0

    async def ask() -> str:
        nonlocal refused
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(HEAD + PORTRAIT)
        status = (await reader.readline()).decode().split()[1]
        refused += status == "429"
        if refused == count - 8:
            when_refused()
        writer.close()
        return status

    return Counter(await asyncio.gather(*(ask() for _ in range(count))))


def test_a_thousand_requests_at_once_are_answered_or_refused(
    serving: Callable[..., Any], gate: Gate
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2500:
        pytest.skip("needs 2500 open files in one process")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with serving(detector=gate, limits=Limits(requests=8), workers=2) as (app, address):
        before = resident_memory(os.getpid())
        answers = asyncio.run(_send_all(address, 1000, gate.opened.set))
        assert resident_memory(os.getpid()) - before < 200
        assert answers == {"200": 8, "429": 992}
        wait_for(lambda: app.queue.count == 0)
        assert send(address, "POST", "/predict", PORTRAIT).status == 200
    assert gate.calls == 9


def test_a_refusal_says_when_to_come_again(serving: Callable[..., Any], gate: Gate) -> None:
    with (
        serving(detector=gate, limits=Limits(requests=1)) as (app, address),
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(send, address, "POST", "/predict", PORTRAIT)
        wait_for(lambda: gate.calls == 1)
        for path in ("/predict", "/check", "/v2/models/halnet/infer"):
            refused = send(address, "POST", path, PORTRAIT)
            assert refused.status == 429
            assert refused.headers["retry-after"] == "1"
            assert refused.error.startswith("expected at most 1 requests at the same time")
        assert send(address, "GET", "/health").status == 200  # it never waits
        gate.opened.set()
        assert first.result().status == 200
        wait_for(lambda: app.queue.count == 0)


def count_left(address: str) -> float:
    text = send(address, "GET", "/metrics").body.decode()
    name = 'halnet_requests_total{endpoint="predict",status="499"} '
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if name in line)


def test_a_client_that_leaves_while_it_waits_costs_nothing(
    serving: Callable[..., Any], gate: Gate
) -> None:
    with serving(detector=gate, workers=1) as (app, address):
        clients = [connect(address) for _ in range(3)]
        for client in clients:
            client.sendall(HEAD + PORTRAIT)
        wait_for(lambda: app.queue.count == 3)
        clients[1].close()
        wait_for(lambda: app.queue.count == 2)
        wait_for(lambda: count_left(address) == 1)
        gate.opened.set()
        for client in (clients[0], clients[2]):
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
            client.close()
        assert gate.calls == 2


def test_a_client_that_leaves_before_its_photo_has_come_frees_its_place(
    serving: Callable[..., Any], gate: Gate
) -> None:
    with serving(detector=gate) as (app, address):
        client = connect(address)
        client.sendall(HEAD + PORTRAIT[:5000])
        wait_for(lambda: app.queue.count == 1)
        client.close()
        wait_for(lambda: app.queue.count == 0)
        assert gate.calls == 0
        wait_for(lambda: count_left(address) == 1)


def test_a_request_that_takes_too_long_is_given_up_and_its_place_is_kept(
    serving: Callable[..., Any], gate: Gate
) -> None:
    """The thread cannot be stopped, so that its place must not be given to another request."""
    limits = Limits(seconds=0.5, requests=2)
    with serving(detector=gate, limits=limits, workers=1) as (app, address):
        with ThreadPoolExecutor(2) as pool:
            answers = list(
                pool.map(lambda _: send(address, "POST", "/predict", PORTRAIT), range(2))
            )
        for answer in answers:
            assert answer.status == 503
            assert answer.error.startswith("expected an answer within 0.5 seconds")
            assert answer.headers["retry-after"] == "1"
        assert gate.calls == 1  # the other one did not begin
        assert app.queue.count == 1
        gate.opened.set()
        wait_for(lambda: app.queue.count == 0)
        assert send(address, "POST", "/predict", PORTRAIT).status == 200


def test_a_slow_client_is_not_waited_for(serving: Callable[..., Any]) -> None:
    with serving(limits=Limits(seconds=0.3)) as (app, address), connect(address) as client:
        client.sendall(HEAD + PORTRAIT[:5000])
        answer = receive(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"expected the whole request within 0.3 seconds, found a part" in answer
        wait_for(lambda: app.queue.count == 0)


def test_photos_of_a_form_that_nobody_waits_for_are_not_begun(
    serving: Callable[..., Any], gate: Gate
) -> None:
    with serving(detector=gate, limits=Limits(seconds=0.5), workers=1) as (app, address):
        files = form(*[("a.jpg", PORTRAIT)] * 5)
        assert send(address, "POST", "/predict", *files).status == 503
        gate.opened.set()
        wait_for(lambda: app.queue.count == 0)
        assert gate.calls == 1
