"""Bad bodies: too large, empty, of another kind, compressed, slow, and forms that are no forms."""

import base64
import json
import os
import re
import socket
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from halnet.benchmarks.samples import portrait
from halnet.benchmarks.usage import resident_memory
from halnet.serving import gate
from tests.serving.client import PORTRAIT, cut_off, form, receive, send

LARGE = 500_000_000  # bytes


def bomb() -> bytes:
    """Return a PNG file of 100 megapixels and a bit, whose data is a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + crc

    side = 10_001
    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])  # 1 bit, gray
    packed = zlib.compress(bytes(side * (1 + (side + 7) // 8)), 9)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("path", ["/predict", "/check", "/v2/models/halnet/infer"])
def test_a_large_request_is_refused_by_its_length_before_it_comes(path: str, server: str) -> None:
    host, port = urlsplit(server).netloc.split(":")
    with socket.create_connection((host, int(port)), 60) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n\r\n".encode()
        )
        answer = receive(client).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert "body: expected at most 1,000,000 bytes, found more; send less" in answer


@pytest.mark.parametrize("path", ["/predict", "/nothing"])
def test_a_client_that_sends_a_large_request_first_reads_the_refusal(
    path: str, server: str
) -> None:
    """`urllib` and others look at the answer only when they have sent everything."""
    request = urllib.request.Request(server + path, bytes(LARGE // 5))
    with pytest.raises(urllib.error.HTTPError) as found:
        urllib.request.urlopen(request, timeout=60)
    assert found.value.code == {"/predict": 413, "/nothing": 404}[path]
    assert "expected" in json.loads(found.value.read())["error"] or path == "/nothing"


def test_a_small_request_that_is_refused_keeps_its_connection(server: str) -> None:
    connection = HTTPConnection(urlsplit(server).netloc, timeout=60)
    connection.connect()
    place = connection.sock.getsockname()
    for path, status in (("/nothing", 404), ("/predict?level=2", 400), ("/predict", 200)):
        connection.request("POST", path, PORTRAIT)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("connection")) == (status, None)
        answer.read()
        assert connection.sock.getsockname() == place
    connection.close()


def test_a_large_request_that_comes_slowly_is_read_to_its_end(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "IDLE_SECONDS", 0.4)

    def parts() -> Iterator[bytes]:
        for _ in range(6):
            time.sleep(0.2)
            yield bytes(200)

    headers = {"Content-Length": "1200"}
    assert send(server, "POST", "/nothing", parts(), headers).status == 404


def test_a_client_that_waits_for_leave_to_send_is_not_asked_to(server: str) -> None:
    host, port = urlsplit(server).netloc.split(":")
    with socket.create_connection((host, int(port)), 60) as client:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {LARGE}\r\n"
        client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert receive(client).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("start", "change"),
    [
        (b"", {}),
        (b"\xef\xbb\xbf \r\n", {}),
        (b"", {b"/": rb"\/"}),
        (b"", {b"=": rb"\u003d", b"+": rb"\u002B", b"/": rb"\u002F"}),
    ],
)
def test_json_of_any_encoder_is_read(start: bytes, change: dict[bytes, bytes], server: str) -> None:
    text = base64.b64encode(PORTRAIT)
    assert all(mark in text for mark in (b"/", b"=", b"+"))
    for mark, escaped in change.items():
        text = text.replace(mark, escaped)
    body = start + b'{"photo" : "' + text + b'"}\n'
    answer = send(server, "POST", "/predict", body, {"Content-Type": "application/json"})
    assert len(answer.json["faces"]) == 1


@pytest.mark.parametrize(
    "text", [b'\x0b{"photo": ""}', rb'{"photo": "\"}', rb'{"photo": "\x"}', b'{"photo": "a" "b"}']
)
def test_what_is_no_json_is_refused(text: bytes, server: str) -> None:
    answer = send(server, "POST", "/predict", text, {"Content-Type": "application/json"})
    assert answer.status == 400


def test_json_is_not_parsed_unless_it_is_a_photo(serving: Callable[..., Any]) -> None:
    """Objects without a photo would need a hundred times the memory of their text."""
    body = b'{"photo": [' + b"{}," * 3_000_000 + b"{}]}"
    before = resident_memory(os.getpid())
    with serving() as (_, address):
        answer = send(address, "POST", "/predict", body, {"Content-Type": "application/json"})
        assert (answer.status, answer.error[:14]) == (400, "JSON: expected")
        crops = b'{"inputs": [' + b"{}," * 3_000_000 + b"{}]}"
        answer = send(address, "POST", "/v2/models/halnet/infer", crops)
        assert answer.error == "expected numbers in the JSON header, found mostly brackets"
    assert resident_memory(os.getpid()) - before < 60


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_a_wrong_part_ends_the_connection_in_silence(
    method: str, pause: float, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before or after the answer to what came before it."""
    host, port = urlsplit(server).netloc.split(":")
    with socket.create_connection((host, int(port)), 60) as client:
        head = f"{method} /nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head.encode())
        time.sleep(pause)
        client.sendall(b"zz\r\n")
        answer = b""
        while part := client.recv(1000):
            answer += part
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert capfd.readouterr().err == ""


def test_a_refused_request_that_never_ends_is_given_up(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "IDLE_SECONDS", 0.2)
    host, port = urlsplit(server).netloc.split(":")
    with socket.create_connection((host, int(port)), 60) as client:
        client.sendall(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
        assert receive(client).startswith(b"HTTP/1.1 404 ")
        with suppress(ConnectionResetError):
            assert client.recv(100) == b"", "the server closes the connection"


@pytest.mark.parametrize("kind", ["image/jpeg", "multipart/form-data; boundary=x"])
def test_a_large_request_in_chunks_is_counted_and_not_kept(kind: str, server: str) -> None:
    part = b"--x\r\n" + b'Content-Disposition: form-data; name="a"; filename="b"\r\n\r\n'

    def parts() -> Iterator[bytes]:
        yield part
        for _ in range(LARGE // 5 // 1_000_000):
            yield bytes(1_000_000)

    before = resident_memory(os.getpid())
    answer = send(server, "POST", "/predict", parts(), {"Content-Type": kind})
    assert answer.status == 413
    assert resident_memory(os.getpid()) - before < 50


def test_a_form_is_kept_in_memory(serving: Callable[..., Any], monkeypatch: Any) -> None:
    """Files above 1 MB would be written to disk by default."""

    def refuse(*args: Any, **values: Any) -> Any:
        raise AssertionError("a temporary file was opened")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    rng = np.random.default_rng(0)
    photo = cv2.imencode(".png", rng.integers(0, 256, (900, 900, 3), np.uint8))[1].tobytes()
    assert len(photo) > 2_000_000
    with serving() as (_, address):
        (result,) = send(address, "POST", "/predict", *form(("a.png", photo))).json
    assert result == {"format": 2, "photo": "a.png", "faces": []}


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"", {}, 400, "body: expected the bytes of a photo, found an empty request"),
        (bomb(), {}, 422, "photo: 10001 x 10001 pixels are more than the 100,000,000 allowed"),
        (b"\0\0\0\x18ftypmp42" + bytes(500), {}, 422, "photo: not a JPEG, PNG, WebP or BMP image"),
        (PORTRAIT[:20000], {}, 422, "photo: the image data is damaged or cut off"),
        (b"{}", {"Content-Type": "application/json"}, 400, r'JSON: expected \{"photo": "the bytes'),
        (
            b'{"photo": "' + base64.b64encode(PORTRAIT) + b'", "photo": ""}',
            {"Content-Type": "application/json"},
            *(400, "JSON: expected"),
        ),
        (b"[" * 5000, {"Content-Type": "application/json"}, 400, "JSON: expected"),
        (
            json.dumps({"photo": "no base64!"}),
            {"Content-Type": "application/json; charset=utf-8"},
            *(400, "JSON: expected"),
        ),
        (PORTRAIT, {"Content-Encoding": "gzip"}, 415, "Content-Encoding: .* none, found gzip"),
        (
            b"--x--\r\n",
            {"Content-Type": "multipart/form-data; boundary=x"},
            400,
            "at least one file|end of boundary",
        ),
        (b"data", {"Content-Type": "multipart/form-data"}, 400, "form: expected one to 3 files"),
        (b"data", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "form: expected"),
        (
            b'--x\r\nContent-Disposition: form-data; name="level"\r\n\r\n0.5\r\n--x--\r\n',
            {"Content-Type": "multipart/form-data; boundary=x"},
            *(400, "no other fields, found: Too many fields"),
        ),
        (*form(*[("a.jpg", b"x")] * 4), 400, "expected one to 3 files .* Too many files"),
        (*cut_off(*[("a.jpg", PORTRAIT)] * 2, end=3000), 400, "form: expected the boundary that"),
        (*cut_off(("a.jpg", PORTRAIT), end=6), 400, "form: expected the boundary that"),
    ],
)
def test_a_bad_body_is_one_clear_error(
    body: Any, headers: dict[str, str], status: int, message: str, server: str
) -> None:
    answer = send(server, "POST", "/predict", body, headers)
    assert answer.status == status
    assert re.search(message, answer.error), answer.error
    assert send(server, "POST", "/check", body, headers).status == status


def test_the_bomb_is_small() -> None:
    assert len(bomb()) < 20_000


def test_an_empty_file_of_a_form_is_the_error_of_that_file(server: str) -> None:
    empty, good = send(server, "POST", "/predict", *form(("a.jpg", b""), ("b.jpg", PORTRAIT))).json
    assert empty["error"] == "a.jpg: the file is empty"
    assert len(good["faces"]) == 1


def test_a_photo_with_too_many_faces_or_pixels_is_refused(serving: Callable[..., Any]) -> None:
    from halnet.serving.config import Limits

    face = portrait()[1]
    limits = Limits(faces=2, pixels=512 * 512)
    with serving(detector=lambda photo: [face] * 3, limits=limits) as (_, address):
        for path in ("/predict", "/check"):
            answer = send(address, "POST", path, PORTRAIT)
            assert answer.status == 422
            assert answer.error == "photo: expected at most 2 faces, found 3; send parts of it"
        wide = cv2.imencode(".png", np.zeros((512, 513, 3), np.uint8))[1].tobytes()
        answer = send(address, "POST", "/predict", wide)
        assert answer.status == 422
        assert "photo: 513 x 512 pixels are more than the 262,144 allowed" in answer.error


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape"])
def test_a_name_that_is_no_text_is_cleaned(charset: str, server: str) -> None:
    name = {"utf-7": "+2AA-.jpg", "unicode_escape": r"\ud800.jpg"}[charset]
    body, headers = form((name, PORTRAIT))
    kind = f"{headers['Content-Type']}; charset={charset}"
    (found,) = send(server, "POST", "/predict", body, {"Content-Type": kind}).json
    assert found["photo"] == "?.jpg"


def test_two_lengths_are_refused(server: str) -> None:
    """A server before this one might take the rest of the body for a request of somebody else."""
    host, port = urlsplit(server).netloc.split(":")
    with socket.create_connection((host, int(port)), 60) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        found = b"".join(iter(lambda: client.recv(65536), b""))  # until the server ends it
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1") == 1
    assert b"expected Content-Length or Transfer-Encoding, found both" in found


def test_photos_are_not_logged(
    serving: Callable[..., Any],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving() as (_, address):
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert send(address, "POST", "/predict", PORTRAIT, kind).status == 400
        send(address, "POST", "/predict?level=0.5", *form(("secret.jpg", PORTRAIT)))
        send(address, "POST", "/predict", b"a secret")
    out, err = capfd.readouterr()
    assert "secret" not in out + err
    assert "/predict" not in out + err
    assert "boundary" not in out + err + caplog.text
