"""Ray: a cluster that exists, or one on this machine that lives as long as its block."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from halnet.batch.storage import EXTRA, NEEDED_BY
from halnet.errors import ConfigError
from halnet.packages import needs

OBJECT_MEMORY = 100 * 2**20  # bytes: only the numbers of shards and their counts pass through it
# Ray reads these when it is imported or started. A program that has set one decides itself.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # otherwise Ray sends statistics to its makers
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # otherwise it prints warnings on its own actors
}
# Ray takes the loopback address on Windows and macOS if this is 0, and on Linux too. Otherwise, it
# would listen on all networks.
LOCAL_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
AUTH_MODE = "RAY_AUTH_MODE"  # environment variable: whether Ray sends its key to a named address
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # an empty frame of settings of HTTP/2
ANSWER = 5.0  # seconds in which a cluster must answer; Ray itself would wait for minutes
CONNECTED = (
    40.0  # seconds in which the connection to it must be made; Ray gives up after 20 or never
)


@contextmanager
def ray_session(address: str | None, cores: int) -> Iterator[Any]:
    """Yield the module `ray`, connected to the cluster at an address, or to one on this machine.

    The latter has so many `cores`, listens on the loopback address only, and ends with the block.
    A connection that the program has made already is used as it is.

    Raises ConfigError if there is no cluster at the address, and RuntimeUnavailableError if Ray is
    not installed.
    """
    with ExitStack() as stack, _variables(QUIET if address else {**QUIET, **LOCAL_ONLY}):
        with needs(NEEDED_BY, EXTRA):
            import ray
            import ray.data
        if ray.is_initialized():
            yield ray
            return
        if address:
            _check_cluster(address)
        own = {} if address else {"num_cpus": cores, "object_store_memory": OBJECT_MEMORY}
        options: dict[str, Any] = {"include_dashboard": None if address else False, **own}
        options |= {"address": address or "local", "logging_level": logging.ERROR}
        try:
            with _quiet_stderr():
                stack.enter_context(_started(ray, log_to_driver=False, **options))
        except Exception as error:  # Ray raises this type if a process of it starts too slowly
            if isinstance(error, OSError) and error.filename:
                raise ConfigError(
                    f"Ray cannot write {error.filename}: {error.strerror}; let HOME and RAY_TMPDIR "
                    "name folders that can be written. With RAY_AUTH_MODE=disabled, nothing is "
                    "written into HOME"
                ) from error
            why = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
            if address:
                raise _no_cluster(address, why) from error
            raise ConfigError(
                f"Ray cannot begin on this machine: {why}; close other programs and try again"
            ) from error
        session = stack.pop_all()
    with session:
        yield ray


@contextmanager
def _started(ray: Any, **options: Any) -> Iterator[None]:
    """Start Ray or connect to it, and end that with the block.

    This happens in a thread, so that a signal cannot interrupt it. Half started, Ray would crash,
    never end, or leave processes behind; so Ctrl-C is acted on when Ray has started. The thread
    lives as long as the block, because Linux ends the processes of Ray with it.
    """
    started: Future[Any] = Future()
    is_over = threading.Event()

    def start() -> None:
        try:
            started.set_result(ray.init(**options))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            started.set_exception(error)
        is_over.wait()

    threading.Thread(target=start, name="halnet-ray", daemon=True).start()
    is_local = options["address"] == "local"
    try:
        try:
            if not is_local and not wait([started], CONNECTED).done:
                raise TimeoutError(f"no connection within {CONNECTED:g} seconds")
            started.result()
        except KeyboardInterrupt:
            while is_local and not started.done():
                with suppress(KeyboardInterrupt):
                    wait([started])
            raise
        _take_back_sigterm()
        yield
    finally:
        if started.done():  # if not, it still tries to connect, and no process of it is here
            ray.shutdown()
        is_over.set()


def _take_back_sigterm() -> None:
    """Set the handler of SIGTERM anew: Ray has replaced it below Python, by one that aborts."""
    handler = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGTERM, handler)


def _check_cluster(address: str) -> None:
    """Raise ConfigError if nothing answers at the address of a cluster."""
    if address == "auto":  # Ray looks for a cluster in a file, which takes no time
        return
    place = urlsplit(f"//{address}")
    try:
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if "://" in address or not host or not port:  # Ray Data does not work with ray:// addresses
        raise ConfigError(
            f"--address {address}: expected an address such as 10.0.0.1:6379, or auto; "
            "ray start --head prints the one of a cluster"
        )
    try:
        with socket.create_connection((host, port), ANSWER) as connection:
            is_ray = os.environ.get("RAY_USE_TLS", "0") != "0" or _speaks_http2(connection)
    except OSError as error:
        raise _no_cluster(address, error.strerror or str(error)) from error
    if not is_ray:
        raise _no_cluster(address, "another server answers there")


def _speaks_http2(connection: socket.socket) -> bool:
    """Return whether a server begins HTTP/2, as all servers of Ray do but that of its dashboard.

    If another server answers, Ray waits for minutes and says nothing. A connection of HTTP/2 begins
    with a frame of settings from each side (RFC 9113, section 3.4).
    """
    kind = 3  # place of the type in a frame, after three bytes with its length
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS)
    answer = b""
    while len(answer) < len(SETTINGS):
        part = connection.recv(len(SETTINGS) - len(answer))
        if not part:
            return False
        answer += part
    return answer[kind] == SETTINGS[kind]


def _no_cluster(address: str, why: str) -> ConfigError:
    key = "" if AUTH_MODE in os.environ else f"; if it asks for a key, set {AUTH_MODE}=token"
    return ConfigError(
        f"--address {address}: expected a Ray cluster, found none that can be used ({why}); start "
        f"one there with ray start --head, see it with ray status, or leave out --address{key}"
    )


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables during the block, except those that are set already."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep libraries, not Python, from printing to stderr. Ray's prints which log level it has."""
    sys.stderr.flush()
    kept = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
