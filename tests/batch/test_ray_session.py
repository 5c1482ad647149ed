"""The session of Ray: clusters that are not there, and what Ray cannot write."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from halnet.batch import ray_session
from halnet.batch.config import BatchConfig
from halnet.batch.run import run_batch
from halnet.errors import ConfigError

pytest.importorskip("ray")

MakeConfig = Callable[..., BatchConfig]


def test_a_missing_cluster_is_an_error_that_leaves_nothing(
    album: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"  # a port that is free afterwards
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=f"{address}: expected a Ray cluster, .*ray start --hea"):
        run_batch(make_config(album, out, address=address))
    assert time.monotonic() - begin < 20
    assert not out.exists()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "another server answers there"),
        (b"-ERR unknown command\r\n", "another server answers there"),
        (b"", "another server answers there"),
        (None, "timed out"),
    ],
    ids=["dashboard", "redis", "closes", "silent"],
)
def test_another_server_than_ray_is_refused_at_once(
    answer: bytes | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself waits for minutes there. The port of its dashboard is easily taken for another."""
    monkeypatch.setattr(ray_session, "ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as client:
                client.recv(100)
                if answer is None:
                    client.recv(100)  # ends when the other side does
                else:
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"{address}: expected a Ray cluster, .*\({why}\)"):
            ray_session._check_cluster(address)
        thread.join()


def test_an_error_names_the_key_unless_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray sends its key to a named address only if the variable says so."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert str(ray_session._no_cluster("a:1", "why")).endswith("set RAY_AUTH_MODE=token")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "RAY_AUTH_MODE" not in str(ray_session._no_cluster("a:1", "why"))


class _SlowRay:
    """What starts and ends as Ray does, and notes it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def init(self, **options: Any) -> None:
        self.seen.append(f"begins in the main thread: {_is_main()}")
        time.sleep(0.3)
        self.seen.append("has started")

    def shutdown(self) -> None:
        self.seen.append("ends")


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(("address", "seen"), [("local", ["has started", "ends"]), ("a:1", [])])
def test_ctrl_c_waits_until_ray_has_started_and_ends_it(address: str, seen: list[str]) -> None:
    """Also if it is pressed twice. A connection to another machine is given up at once."""
    slow = _SlowRay()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            for seconds in (0.1, 0.2) if address == "local" else (0.1,):
                threading.Timer(seconds, partial(os.kill, os.getpid(), signal.SIGINT)).start()
            with ray_session._started(slow, address=address):
                slow.seen.append("is used")
    finally:
        signal.signal(signal.SIGINT, before)
    assert slow.seen == ["begins in the main thread: False", *seen]


def test_a_connection_that_is_never_made_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "CONNECTED", 0.1)
    slow = _SlowRay()
    with (
        pytest.raises(TimeoutError, match="no connection within 0.1 seconds"),
        ray_session._started(slow, address="a:1"),
    ):
        slow.seen.append("is used")
    assert slow.seen == ["begins in the main thread: False"]


def test_sigterm_has_the_handler_of_python_when_ray_has_started() -> None:
    """Ray's own, below Python, prints a trace and aborts."""
    code = (
        "import signal, sys, time; from halnet.batch.ray_session import ray_session\n"
        "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "try:\n"
        "    with ray_session(None, 1):\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        time.sleep(9)\n"
        "except KeyboardInterrupt:\n"
        "    print('ended', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_a_cluster_is_recognized(ray_cluster: str) -> None:
    ray_session._check_cluster(ray_cluster)


def test_a_home_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, since Ray keeps the key that it has read."""
    (tmp_path / "file").touch()
    code = "from halnet.batch.ray_session import ray_session; ray_session(None, 1).__enter__()"
    home = {"HOME": str(tmp_path / "file")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"ConfigError: Ray cannot write {tmp_path}/file/.ray" in done.stderr
    assert "With RAY_AUTH_MODE=disabled, nothing is written into HOME" in done.stderr


@pytest.mark.parametrize("address", ["10.0.0.1", "cluster", "ray://host:10001", "host:port", ""])
def test_an_address_without_a_port_is_an_error(address: str) -> None:
    with pytest.raises(ConfigError, match="expected an address such as 10.0.0.1:6379"):
        ray_session._check_cluster(address)
