"""The process of `halnet serve`: it listens, and it answers what it took before it ends."""

import asyncio
import ctypes
import os
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from halnet.errors import ConfigError
from halnet.packages import import_library
from halnet.serving.app import App
from halnet.serving.config import ServeConfig
from halnet.serving.metrics import Metrics
from halnet.serving.service import Service

# After SIGTERM, new requests are still taken for so long. Each answer ends its connection, and
# /v2/health/ready says no, so that a load balancer and the clients have time to go elsewhere.
DRAIN_SECONDS = 1.0
# After that, new connections are refused, and those that are open have so long to send a request.
LATE_SECONDS = 0.25
KEEP_SECONDS = 30  # that a connection without a request is kept open
SO_ATTACH_FILTER = 26  # of Linux: a program that chooses the packets that a socket gets
# It refuses the packets that begin a connection: the flag SYN (2) is set and ACK (16) is not in
# byte 13 of the TCP header. Each line has an instruction, two jumps and a number.
NO_SYN = (
    (0x30, 0, 0, 13),  # load byte 13
    (0x54, 0, 0, 2 | 16),  # and these bits
    (0x15, 0, 1, 2),  # if the result is not 2, leave out the next line
    (0x06, 0, 0, 0),  # keep no byte of the packet
    (0x06, 0, 0, 2**32 - 1),  # keep all of it
)
WAITING = 2048  # connections that the operating system holds until they are accepted


def serve(config: ServeConfig) -> None:
    """Serve a model until this process gets SIGINT or SIGTERM. Prints the address.

    Requests that have come are answered before it ends. Raises ConfigError if the port is in use or
    the address does not belong to this machine, and what `Service` raises.
    """
    import_library("python_multipart", "halnet serve", "serve")
    with listen(config) as listener:
        metrics = Metrics()
        with Service(config, metrics) as service:
            app = App(config, service, metrics)
            try:
                _allow_many_connections()
                host, port = listener.getsockname()[:2]
                place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
                model, spec = service.info["model"], service.info["model"]["runtime"]
                line = f"{model['file']} on {spec} is served at {place}; Ctrl-C ends it"
                server = GracefulServer(app, config.limits.seconds, lambda: print(line, flush=True))
                with _ended_by_signals(server):
                    server.run([listener])
            finally:
                app.queue.close()


class _Connection(H11Protocol):
    """A connection."""

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or end the connection if an answer has begun already."""
        if self.cycle is not None:  # its answer would come after this one
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with suppress(h11.LocalProtocolError):  # HEAD: there is no body
                super().send_400_response(msg)
        self.transport.close()


class GracefulServer(uvicorn.Server):
    """A server that answers all requests that have come before it ends.

    `seconds` is the time that a request may take. `on_start` is called when signals are handled and
    connections are taken.
    """

    def __init__(
        self,
        app: App,
        seconds: float,
        on_start: Callable[[], None] = lambda: None,
        drain: float = DRAIN_SECONDS,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app.asgi,
                http=_Connection,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_level="error",  # no line for a request, also not for one that is no HTTP
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_SECONDS,
                backlog=WAITING,
            )
        )
        self._app, self._seconds, self._on_start, self._drain = app, seconds, on_start, drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections."""
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: say that it will, wait a little, take no more connections, finish the requests."""
        self._app.is_draining = True
        await asyncio.sleep(self._drain)
        for listener in sockets or []:
            stop_connections(listener)
        await asyncio.sleep(LATE_SECONDS)
        # All answers are there by then. A client that does not read its own cannot delay the end.
        last = asyncio.get_running_loop().call_later(self._seconds, self._end_connections)
        await super().shutdown(sockets)
        last.cancel()
        self._end_connections()  # those that a second Ctrl-C has not waited for
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LATE_SECONDS)

    def _end_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def listen(config: ServeConfig) -> socket.socket:
    """Return a socket that listens; ConfigError if that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=WAITING)
    except OSError as error:
        # Python adds the address to some of the system's words.
        number = error.errno or 0  # below 0: of a name that cannot be looked up
        why = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise ConfigError(
            f"{config.host}:{config.port}: the server cannot listen here ({why}); choose another "
            "--port, or a --host that belongs to this machine"
        ) from error
    # Connections inherit it. Otherwise the body of an answer waits 40 ms for the client to confirm
    # the headers; asyncio sets it only for sockets that name their protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def stop_connections(listener: socket.socket) -> None:
    """Let the system begin no more connections for a socket that listens.

    Those that it has made, or is about to make, can still be accepted. If the socket were closed
    now, they would be reset, with requests that were sent by then. Only Linux can do this;
    elsewhere nothing changes.
    """
    lines = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in NO_SYN))
    program = struct.pack("HP", len(NO_SYN), ctypes.addressof(lines))
    if sys.platform == "linux":
        with suppress(OSError):  # a kernel without filters of packets
            listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def _allow_many_connections() -> None:
    """Let this process have as many open connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def _ended_by_signals(server: GracefulServer) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the server inside the block, and nothing else.

    uvicorn handles them while it runs, and sends them to this process again when it has ended.
    """

    def end(*_: object) -> None:
        server.should_exit = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {
        number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
