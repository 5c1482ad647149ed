"""A client for the tests of the server."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from halnet.artifact import bundled

PORTRAIT = bundled("portrait.jpg").read_bytes()
BOUNDARY = "limit of a part"


@dataclass(frozen=True)
class Answer:
    """The answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The message of an error, which is all that its answer holds."""
        assert list(self.json) == ["error"]
        return str(self.json["error"])


def send(
    address: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request to a server. A body that is an iterator is sent in chunks."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def receive(client: socket.socket) -> bytes:
    """Return an answer with a JSON body, which may come in several parts."""
    answer = b""
    while not answer.endswith(b"}"):
        part = client.recv(10000)
        assert part, answer
        answer += part
    return answer


def form(*files: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a form with these files."""
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename='
    parts = [f'{field}"{name}"\r\n\r\n'.encode() + data + b"\r\n" for name, data in files]
    kind = f'multipart/form-data; boundary="{BOUNDARY}"'
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()]), {"Content-Type": kind}


def cut_off(*files: tuple[str, bytes], end: int) -> tuple[bytes, dict[str, str]]:
    """Return a form likewise, without its last `end` bytes."""
    body, headers = form(*files)
    return body[:-end], headers
