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
from halnet.serving.config import ServeConfig
from halnet.serving.server import listen, stop_connections
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
