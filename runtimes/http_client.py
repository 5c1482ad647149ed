"""A client for HTTP and HTTPS, made of the standard library, for calls that may be repeated.

Each call has a time limit. A call that did not get an answer is made again, after a pause: if the
connection fails, or if the server says that it is busy (429) or not ready (503). So only calls that
may run twice belong here. Exactly one answer is returned.
"""

import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from halnet.errors import ConfigError, RuntimeUnavailableError

PAUSES = (0.0, 0.2, 1.0)  # seconds before each repetition; the first may only follow an old socket
MAX_PAUSE = 5.0  # seconds, where a server asks for a longer one
BUSY = (429, 503)
CHUNK = 65536  # bytes


@dataclass(frozen=True)
class Answer:
    """The answer of a server."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests to one server. Several threads may share a client.

    `address` begins with http:// or https://. `headers` are sent with each request, `ca_file` has
    the certificates that sign that of the server, and `timeout` is in seconds, for one try.
    Raises ConfigError for a wrong address, and for a `ca_file` that cannot be read.
    """

    def __init__(
        self,
        address: str,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(address)
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ConfigError(f"{address}: {error}; expected http://HOST:PORT") from error
        if parts.scheme not in ("http", "https") or not self._host or parts.username:
            raise ConfigError(
                f"{address}: expected an address such as http://HOST:PORT or https://HOST, "
                "without a user name"
            )
        self.address, self._headers, self._timeout = address, dict(headers or {}), timeout
        self._tls = _open_tls(ca_file) if parts.scheme == "https" else None
        self._idle: deque[HTTPConnection] = deque()  # connections that no call uses

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
            except ssl.SSLError as error:
                raise self._error(f"found no trusted connection ({error})") from error
            except (OSError, HTTPException) as error:
                problem = f"found that the connection failed ({type(error).__name__}: {error})"
            if number < len(PAUSES):
                time.sleep(max(PAUSES[number], pause))
        raise self._error(f"{problem}, {len(PAUSES) + 1} times")

    def close(self) -> None:
        """Close the connections that no call uses."""
        while self._idle:
            self._idle.pop().close()

    def _error(self, found: str) -> RuntimeUnavailableError:
        return RuntimeUnavailableError(
            f"{self.address}: expected an answer of the server, {found}; see that it runs there"
        )

    def _try(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> Answer:
        deadline = time.monotonic() + self._timeout
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            _set_timeout(connection, deadline)
            connection.request(method, path, body, dict(headers))
            _set_timeout(connection, deadline)
            response = connection.getresponse()
            data = self._read(connection, response, deadline, limit)
            response.close()  # otherwise the connection would take no other request
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, data)

    def _connect(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=self._timeout)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)

    def _read(
        self, connection: HTTPConnection, response: HTTPResponse, deadline: float, limit: int
    ) -> bytes:
        """Return the body. The time limit is for all of it, not for each part."""
        data = bytearray()
        expected = response.length  # None: it comes in chunks, or ends with the connection
        while part := response.read1(CHUNK):
            data += part
            if len(data) > limit:
                raise self._error(f"found one of more than {limit} bytes")
            _set_timeout(connection, deadline)
        if expected is not None and len(data) < expected:
            raise ConnectionError(f"{len(data)} of {expected} bytes came")
        return bytes(data)


def _set_timeout(connection: HTTPConnection, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    if connection.sock is not None:  # it is not connected yet, or all of the answer has come
        connection.sock.settimeout(left)


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
