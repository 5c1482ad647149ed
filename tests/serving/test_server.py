"""The process: where it listens, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from halnet.benchmarks.studies.processes import COMMAND
from halnet.errors import ConfigError
from halnet.runtimes.remote import RemoteRuntime
from halnet.serving.config import Limits, ServeConfig
from halnet.serving.server import NO_SYN, listen, stop_connections
from tests.serving.client import PORTRAIT, send

CLIENTS = 8


def test_a_port_that_is_in_use_is_one_clear_error() -> None:
    with listen(ServeConfig(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            ConfigError,
            match=rf"127.0.0.1:{port}: .* \(Address already in use\); choose another --port",
        ):
            listen(ServeConfig(port=port))


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_of_another_machine_is_one_clear_error(host: str) -> None:
    with pytest.raises(ConfigError, match=f"{host}:0: the server cannot listen here"):
        listen(ServeConfig(host=host, port=0))


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_it_listens_on_ipv6() -> None:
    with listen(ServeConfig(host="::1", port=0)) as socket_:
        assert socket_.getsockname()[0] == "::1"


def test_the_body_of_an_answer_does_not_wait_for_its_headers() -> None:
    with (
        listen(ServeConfig(port=0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_every_request_that_came_is_answered_when_the_server_ends(
    serving: Callable[..., Any],
) -> None:
    answered = [0] * CLIENTS
    started = threading.Barrier(CLIENTS + 1)

    def ask(number: int, address: str) -> None:
        started.wait()
        connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
        while True:
            try:
                connection.request("POST", "/predict", PORTRAIT)
                answered[number] += connection.getresponse().read().startswith(b'{"format"')
            except (OSError, HTTPException):  # the server did not take it
                return

    with ThreadPoolExecutor(CLIENTS) as pool, serving() as (app, address):
        for number in range(CLIENTS):
            pool.submit(ask, number, address)
        started.wait()
        while sum(answered) < 100:
            time.sleep(0.01)
    requests = app._metrics.requests.labels("predict", 200)._value.get()
    assert sum(answered) == requests >= 100
    assert app.queue.count == 0


def test_a_request_on_a_connection_that_was_open_before_the_end_is_answered(
    serving: Callable[..., Any],
) -> None:
    connections = []
    with serving() as (app, address):
        place = urlsplit(address)
        for _ in range(CLIENTS):
            connections.append(HTTPConnection(place.netloc, timeout=60))
            connections[-1].connect()
        ended = threading.Thread(target=_ask_when_it_ends, args=(app, connections))
        ended.start()
    ended.join()
    assert app._metrics.requests.labels("predict", 200)._value.get() == CLIENTS


def _ask_when_it_ends(app: Any, connections: list[HTTPConnection]) -> None:
    while not app.is_draining:
        time.sleep(0.001)
    for connection in connections:
        connection.request("POST", "/predict", PORTRAIT)
    for connection in connections:
        assert connection.getresponse().status == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do this")
def test_at_the_end_there_are_no_new_connections_and_those_that_wait_are_accepted() -> None:
    with (
        listen(ServeConfig(port=0)) as listener,
        socket.create_connection(listener.getsockname()) as waiting,
    ):
        stop_connections(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), timeout=0.2)
        with listener.accept()[0] as accepted:
            waiting.sendall(b"late")
            assert accepted.recv(4) == b"late"


def test_only_the_first_packet_of_a_connection_is_refused() -> None:
    """Those that a client sends when its connection is half made must arrive."""
    syn, ack, syn_and_ack, data, reset = 2, 16, 18, 24, 4
    assert not _passes(syn)
    assert not _passes(syn | 192), "with the bits of congestion control"
    assert all(map(_passes, (ack, syn_and_ack, data, reset)))


def _passes(flags: int) -> int:
    """Run the program of packets on a TCP header with these flags, as the kernel does."""
    header, number, place = bytes(13) + bytes([flags]) + bytes(6), 0, 0
    while True:
        code, jump, other, value = NO_SYN[place]
        place += 1
        match code:
            case 0x30:
                number = header[value]
            case 0x54:
                number &= value
            case 0x15:
                place += jump if number == value else other
            case 0x06:
                return value


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_right_after_the_first_line_ends_the_process(
    number: signal.Signals, yunet: Path, tmp_path: Path
) -> None:
    arguments = ["serve", "model.fake", "--runtime", "fake", "--detector", str(yunet)]
    with subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0"], stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert b" is served at " in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(60) == 0


def test_a_client_that_does_not_read_cannot_delay_the_end(serving: Callable[..., Any]) -> None:
    with socket.socket() as client:
        client.settimeout(0.2)
        with serving(limits=Limits(seconds=0.5)) as (app, address):
            host, port = urlsplit(address).netloc.split(":")
            client.connect((host, int(port)))
            with pytest.raises(TimeoutError):  # the server takes no more
                while True:
                    client.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            before = time.monotonic()
        assert app.is_draining
        assert time.monotonic() - before < 20


def test_sigterm_ends_the_process_after_the_answers(
    yunet: Path, tmp_path: Path, crops: np.ndarray
) -> None:
    key = tmp_path / "key"
    key.write_text("sesame\n")
    arguments = ["serve", "model.fake", "--runtime", "fake", "--detector", str(yunet)]
    with subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0", "--api-key-file", str(key)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HALNET_API_KEY": ""},
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"fake on fake 1, cpu is served at (http://\S+); Ctrl-C .*\n", line)
        assert found is not None, line
        address = found[1]
        assert send(address, "GET", "/info").status == 401
        with RemoteRuntime(address, api_key="sesame") as remote:
            ages = remote.run(crops).age
            process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + 60
            while send(address, "GET", "/v2/health/ready").status == 200:
                assert time.monotonic() < deadline
            np.testing.assert_array_equal(remote.run(crops).age, ages)  # it still takes requests
            answer = send(address, "GET", "/health")
            assert (answer.status, answer.json) == (503, {"status": "ending"})
            assert answer.headers["connection"] == "close"
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
