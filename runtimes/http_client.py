"""A client for HTTP and HTTPS, made of the standard library, for calls that may be repeated.

Each try has a time limit, from the connection to the last byte of the answer. A call that did not
get an answer is made again, after a pause: if the connection fails, or if the server says that it
is busy (429) or not ready (503). So only calls that may run twice belong here. Exactly one answer
is returned.
"""

import io
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from halnet.errors import ConfigError, RuntimeUnavailableError

# Seconds before each repetition. The first may only follow a connection that was closed meanwhile.
PAUSES = (0.0, 0.2, 1.0)
MAX_PAUSE = 5.0  # seconds, where a server asks for a longer one
BUSY = (429, 503)
CHUNK = 65536  # bytes
MAX_TIMEOUT = 86400  # seconds, a day
PORTS = {"http": 80, "https": 443}  # those of addresses that do not name one


@dataclass(frozen=True)
class Answer:
    """The answer of a server."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests to one server. Several threads may share a client.

    `address` begins with http:// or https:// and has no user name. `headers` are sent with each
    request, `ca_file` has the certificates that sign that of the server, and `timeout` is in
    seconds, for one try. Only the system's search for the addresses of a host has a limit of its
    own. Raises ConfigError for a wrong address or `timeout`, and for a `ca_file` that cannot be
    read.
    """

    def __init__(
        self,
        address: str,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        try:
            parts = urlsplit(address)
            self._host, port = parts.hostname or "", parts.port
            self._host.encode("idna")  # a name that cannot be looked up is an error here
        except ValueError as error:
            raise ConfigError(f"{address}: {error}; expected http://HOST:PORT") from error
        if parts.scheme not in PORTS or not self._host:
            raise ConfigError(
                f"{address}: expected an address such as http://HOST:PORT or https://HOST"
            )
        if not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT:
            raise ConfigError(
                f"timeout {timeout}: expected seconds above 0 and at most {MAX_TIMEOUT}"
            )
        self._port = PORTS[parts.scheme] if port is None else port
        self.address, self._headers, self._timeout = address, dict(headers or {}), timeout
        self._tls = _open_tls(ca_file) if parts.scheme == "https" else None
        self._idle: deque[HTTPConnection] = deque()  # connections that no call uses
        self._is_closed = False

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = 10_000_000,
    ) -> Answer:
        """Return the answer to a request. `limit` is the most bytes that its body may have.

        Raises RuntimeUnavailableError if no answer comes in time, if it is too large or damaged,
        and if the server stays busy.
        """
        problem = ""
        for number in range(len(PAUSES) + 1):
            pause = 0.0
            try:
                answer = self._try(method, path, body, {**self._headers, **(headers or {})}, limit)
                if answer.status not in BUSY:
                    return answer
                problem = f"found that the server is busy or not ready (status {answer.status})"
                pause = _read_pause(answer.headers.get("retry-after", ""))
            except TimeoutError as error:
                raise self._error(f"found none within {self._timeout:g} seconds") from error
            except ssl.SSLCertVerificationError as error:
                raise self._error(f"found no trusted connection ({error})") from error
            except (OSError, HTTPException) as error:
                problem = f"found that the connection failed ({type(error).__name__}: {error})"
            if number < len(PAUSES):
                time.sleep(max(PAUSES[number], pause))
        raise self._error(f"{problem}, {len(PAUSES) + 1} times")

    def close(self) -> None:
        """Close all connections, those that calls use at the end of these calls."""
        self._is_closed = True
        self._close_idle()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _take_idle(self) -> HTTPConnection | None:
        """Return a connection that no call uses, and close those that the server has closed."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            sock: Any = connection.sock  # a _TimedSocket
            if sock.is_quiet():
                return connection
            connection.close()

    def _error(self, found: str) -> RuntimeUnavailableError:
        return RuntimeUnavailableError(
            f"{self.address}: expected an answer of the server, {found}; see that it runs there"
        )

    def _try(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> Answer:
        deadline = time.monotonic() + self._timeout
        connection = self._take_idle() or self._connect(deadline)
        try:
            connection.sock.settimeout(_time_left(deadline))
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            data = self._read(response, limit)
            response.close()  # otherwise the connection would take no other request
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
            if self._is_closed:
                self._close_idle()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, data)

    def _connect(self, deadline: float) -> HTTPConnection:
        """Return a connection whose socket keeps to a deadline."""
        place = (self._host, self._port)
        addresses = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)
        share = _time_left(deadline) / len(addresses)  # each address may be tried
        sock = socket.create_connection(place, share)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock.settimeout(_time_left(deadline))
                sock = self._tls.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise
        if self._tls is None:
            connection = HTTPConnection(*place)
        else:
            connection = HTTPSConnection(*place, context=self._tls)
        connection.sock = _TimedSocket(sock)
        return connection

    def _read(self, response: HTTPResponse, limit: int) -> bytes:
        """Return the body. It comes within the time limit, because its socket keeps to that."""
        data = bytearray()
        expected = response.length  # None: it comes in chunks, or ends with the connection
        while part := response.read1(CHUNK):
            data += part
            if len(data) > limit:
                raise self._error(f"found one of more than {limit} bytes")
        if expected is not None and len(data) < expected:
            raise ConnectionError(f"{len(data)} of {expected} bytes came")
        return bytes(data)


class _TimedSocket:
    """What `http.client` needs of a socket, with one time limit for all that is sent and received.

    That of a plain socket begins again with each byte that comes.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.close = sock.close

    def is_quiet(self) -> bool:
        """Return whether the server has neither sent anything nor closed the connection."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            return not selector.select(0)

    def settimeout(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._limit()
            rest = rest[self._sock.send(rest) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # it is read
        return io.BufferedReader(_TimedFile(self._sock.makefile("rb", buffering=0), self._limit))

    def _limit(self) -> None:
        """Give the next call of the socket the time that is left."""
        self._sock.settimeout(_time_left(self._deadline))


class _TimedFile(io.RawIOBase):
    """The file of a socket, with a call before each read that sets the time limit."""

    def __init__(self, file: socket.SocketIO, limit: Callable[[], None]) -> None:
        self._file, self._limit = file, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._limit()
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _time_left(deadline: float) -> float:
    """Return the seconds until a deadline; TimeoutError if it is over."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _open_tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{ca_file}: expected a file of certificates in the format PEM, found that it cannot "
            f"be read ({error})"
        ) from error


def _read_pause(text: str) -> float:
    """Return the seconds of a header field Retry-After, within limits."""
    return min(float(text), MAX_PAUSE) if text.isascii() and text.isdigit() else 0.0
