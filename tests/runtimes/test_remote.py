"""The runtime "remote": what it accepts from a server, when it asks again, and nonsense."""

import contextlib
import datetime
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halnet import Predictor, open_runtime
from halnet.ages import AgeCalibration
from halnet.artifact import Metadata
from halnet.errors import ArtifactError, ConfigError, RuntimeUnavailableError
from halnet.runtimes import backends, http_client
from halnet.runtimes.base import BatchLimits
from halnet.runtimes.fake import FakeRuntime
from halnet.runtimes.inference_protocol import HEADER_LENGTH, INPUTS, OUTPUTS, pack, unpack
from halnet.runtimes.remote import RemoteRuntime

PROPERTIES = FakeRuntime().spec.metadata.to_properties()
MODEL = {
    "name": "halnet",
    "versions": ["1"],
    "inputs": list(INPUTS),
    "outputs": list(OUTPUTS),
    "parameters": PROPERTIES,
}


class Stub:
    """A server that computes what FakeRuntime computes, unless a test replaces an answer."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {
            "/v2": {"name": "stub", "version": "9"},
            "/v2/models/halnet": MODEL,
        }
        self.change: Callable[[dict[str, np.ndarray]], Any] = lambda arrays: arrays
        self.raw: list[Callable[[BaseHTTPRequestHandler], None]] = []  # each for one request
        self.sizes: list[int] = []  # crops of each request
        self.keys: set[str | None] = set()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def answer(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                stub.keys.add(self.headers.get("Authorization"))
                page = stub.pages.get(self.path, (404, {"error": "no such page"}))
                status, value = page if isinstance(page, tuple) else (200, page)
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.answer(status, body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if stub.raw:
                    stub.raw.pop(0)(self)
                    return
                _, arrays = unpack(body, self.headers[HEADER_LENGTH], "inputs")
                stub.sizes.append(len(arrays["image"]))
                outputs = FakeRuntime().run(arrays["image"])
                made = stub.change({name: np.array(v) for name, v in vars(outputs).items()})
                body, length = pack({}, "outputs", made, list(made))
                self.answer(200, body, **{HEADER_LENGTH: str(length)})

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setattr(http_client, "PAUSES", (0.0, 0.0, 0.0))
    made = Stub()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_server_gives_the_ages_that_it_computes(stub: Stub, crops: np.ndarray) -> None:
    many = np.concatenate([crops] * 15)
    with Predictor(stub.address, runtime="remote") as predictor:
        assert predictor.spec.version == "stub 9"
        assert predictor.spec.model == f"{stub.address}/v2/models/halnet"
        ages = predictor.predict_crops(many)
        expected = Predictor(FakeRuntime()).predict_crops(many)
    np.testing.assert_array_equal(ages.age, expected.age)
    np.testing.assert_array_equal(ages.interval(0.9), expected.interval(0.9))
    assert stub.sizes == [32, 32, 11]


def test_an_address_chooses_the_runtime_also_as_a_path(stub: Stub, crops: np.ndarray) -> None:
    shouted = stub.address.replace("http", "HTTP")
    for model in (stub.address, f"{stub.address}/", Path(stub.address), shouted):
        with open_runtime(model) as runtime:
            assert runtime.spec.runtime == "remote"
            assert len(runtime.run(crops)) == 5


@pytest.mark.parametrize(
    ("model", "runtime", "message"),
    [
        ("http://localhost:1", "fake", "runtime fake: expected a file as the model, found http:"),
        ("halnet.onnx", "remote", "runtime remote: expected the address of a server, such as http"),
        (None, "remote", "runtime remote: expected the address .* found none"),
        ("http://localhost:1/v1/models/x", "remote", "expected the address of a server"),
        ("http://localhost:99999", "remote", "localhost:99999: Port out of range"),
        (
            "http://user:secret@localhost:1",
            "remote",
            r"//\*\*\*@localhost:1: .* without a user name",
        ),
        ("http://user:s/secret@localhost:1", "remote", r"//\*\*\*@localhost:1: .* a user name"),
        ("http://user:secret@localhost:1", "fake", r"found http://\*\*\*@localhost:1"),
        ("http://[::1", "remote", "Invalid IPv6 URL; expected http://HOST:PORT"),
        ("http://a..b:8101", "remote", "expected http://HOST:PORT"),
        (f"http://{'a' * 64}.de", "remote", "expected http://HOST:PORT"),
        ("http://a\0b", "remote", "expected the address of a server"),
        ("http://localhost:1/v2/models/gesichts\xe4", "remote", "codes such as %20 for spaces"),
        ("http://localhost:1/v2/models/my faces", "remote", "codes such as %20 for spaces"),
    ],
)
def test_wrong_addresses_are_one_clear_error(model: Any, runtime: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_runtime(model, runtime)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("timeout", [np.nan, np.inf, 0, -1, "x", None, 1e300])
def test_a_wrong_timeout_is_one_clear_error(timeout: Any) -> None:
    with pytest.raises(ConfigError, match=f"timeout {timeout}".replace("+", ".")):
        RemoteRuntime("http://localhost:1", timeout=timeout)


def test_nobody_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "PAUSES", (0.0,))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RuntimeUnavailableError) as caught:
        RemoteRuntime(f"http://127.0.0.1:{port}")
    assert re.fullmatch(
        rf"http://127.0.0.1:{port}: expected an answer of the server, found that the connection "
        r"failed \(ConnectionRefusedError: .*\), 2 times; see that it runs there",
        str(caught.value),
    )


@pytest.mark.parametrize(
    ("path", "page", "message"),
    [
        ("/v2", b"<html>", "expected a JSON object at /v2, found b'<html>'"),
        ("/v2", [1], "expected a JSON object at /v2"),
        ("/v2", (401, {"error": "key"}), r"found 401 \(key\); set HALNET_API_KEY to the key"),
        ("/v2", (500, b"\xff"), "/v2: expected status 200, found 500"),
        ("/v2", (404, b"<html>"), "/v2: expected status 200, found 404; name a server that speaks"),
        ("/v2/models/halnet", (404, {"error": "x"}), "is its model named halnet?"),
        (
            "/v2/models/halnet",
            (500, {"error": "a\nb\r\x1b[31mred\x9b"}),
            re.escape(r"found 500 (a\nb\n\x1b[31mred\x9b)"),
        ),
        *[
            ("/v2/models/halnet/config", {"max_batch_size": size}, "expected a max_batch_size from")
            for size in ("abc", [1], -5, 0.5, True)
        ],
        *[
            (
                "/v2/models/halnet",
                {**MODEL, "inputs": [{**INPUTS[0], "shape": [size, 224, 224, 3]}]},
                "expected a model with",
            )
            for size in (-7, 0, True, 2.5, "3")
        ],
        ("/v2/models/halnet", {}, "expected a model with"),
        ("/v2/models/halnet", {"inputs": [], "outputs": []}, "expected a model with"),
        (
            "/v2/models/halnet",
            {**MODEL, "inputs": [{**INPUTS[0], "datatype": "FP32"}]},
            "serve a model that halnet export wrote",
        ),
        (
            "/v2/models/halnet",
            {**MODEL, "inputs": [{**INPUTS[0], "shape": [-1, 3, 224, 224]}]},
            r"expected a model with .*\[-1, 3, 224, 224\]",
        ),
        ("/v2/models/halnet", {**MODEL, "outputs": list(OUTPUTS[:2])}, "expected a model with"),
        ("/v2/models/halnet", {**MODEL, "inputs": [*INPUTS, *INPUTS]}, "expected a model with"),
        (
            "/v2/models/halnet",
            {**MODEL, "parameters": {}},
            "states the metadata of its model, found none; name a local copy of the model",
        ),
        (
            "/v2/models/halnet",
            {**MODEL, "parameters": {**PROPERTIES, "halnet.calibration": "{"}},
            "the halnet.* metadata is damaged",
        ),
        (
            "/v2/models/halnet",
            {**MODEL, "parameters": {**PROPERTIES, "halnet.input_fingerprint": "0" * 16}},
            "expected crops with the input fingerprint",
        ),
    ],
)
def test_a_server_that_states_nonsense_is_one_clear_error(
    path: str, page: Any, message: str, stub: Stub
) -> None:
    stub.pages[path] = page
    with pytest.raises((ArtifactError, ConfigError, RuntimeUnavailableError), match=message):
        RemoteRuntime(stub.address)


def test_a_missing_version_is_named(stub: Stub) -> None:
    with pytest.raises(RuntimeUnavailableError, match="named halnet, with the version 2[?]$"):
        RemoteRuntime(f"{stub.address}/v2/models/halnet/versions/2")


def test_metadata_of_a_local_copy_stand_in_for_a_server_that_states_none(
    stub: Stub, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Triton: inputs and outputs for one crop are stated as N x 1, and batches are limited."""
    outputs = [
        {**entry, "shape": [*entry["shape"][:1], 1][: 3 - len(entry["shape"])]}
        for entry in OUTPUTS[:2]
    ]
    stub.pages["/v2/models/faces/versions/3"] = {
        **{**MODEL, "parameters": {}},
        "outputs": [OUTPUTS[2], *outputs],
    }
    stub.pages["/v2/models/faces/versions/3/config"] = {"max_batch_size": 2}
    stub.change = lambda a: {**a, "age": a["age"][:, None], "stddev": a["stddev"][:, None]}
    local = replace(FakeRuntime().spec, metadata=FakeRuntime().spec.metadata)
    asked: list[Path] = []
    monkeypatch.setattr(
        "halnet.runtimes.remote.describe", lambda path: (asked.append(path), local)[1]
    )
    monkeypatch.chdir(tmp_path)
    address = f"{stub.address}/v2/models/faces/versions/3"
    with RemoteRuntime(address, metadata="copy.onnx") as runtime:
        assert runtime.spec.batch_limits == BatchLimits(1, 2)
        assert runtime.spec.metadata == local.metadata
        np.testing.assert_array_equal(runtime.run(crops).age, FakeRuntime().run(crops).age)
    assert stub.sizes == [2, 2, 1]
    assert asked == [tmp_path / "copy.onnx"]


def test_parameters_of_triton_are_read_and_compared(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.pages["/v2/models/halnet"] = {**MODEL, "parameters": None}
    stated = {name: {"string_value": value} for name, value in PROPERTIES.items()}
    stub.pages["/v2/models/halnet/config"] = {"parameters": stated}
    with RemoteRuntime(stub.address) as runtime:
        assert runtime.spec.metadata == FakeRuntime().spec.metadata
    other: Metadata = replace(
        FakeRuntime().spec.metadata,
        checkpoint_sha256="ab" * 32,
        calibration=AgeCalibration(1.5, (1.0, 2.0)),
    )
    monkeypatch.setattr(
        "halnet.runtimes.remote.describe", lambda path: replace(FakeRuntime().spec, metadata=other)
    )
    with pytest.raises(ArtifactError, match="another checkpoint_sha256, calibration; name a copy"):
        RemoteRuntime(stub.address, metadata="copy.onnx")


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


def with_value(name: str, value: float) -> Callable[[dict[str, Any]], Any]:
    def change(arrays: dict[str, Any]) -> Any:
        arrays[name].flat[1] = value
        return arrays

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("stddev"), r"stddev: expected float32 of shape \(5,\), found none"),
        (with_value("age", np.nan), "age: expected finite numbers from 0 up"),
        (with_value("age", 101), "ages up to 100, found others"),
        (with_value("age", 99), "age: expected .* years, as the probabilities say, found 99"),
        (with_value("stddev", 1e30), r"stddev: expected 5 years, .* found 1e\+30"),
        (lambda a: {**a, "age": a["stddev"], "stddev": a["age"]}, "age: expected .* found 5"),
        (with_value("probabilities", np.inf), "probabilities: expected finite numbers"),
        (with_value("probabilities", 0.5), "expected probabilities whose sum is 1"),
        (with_value("stddev", -1), "stddev: expected finite numbers from 0 up"),
        (lambda a: {**a, "age": a["age"][:4]}, r"age: expected .*found float32 of shape \(4,\)"),
        (
            lambda a: {**a, "probabilities": a["probabilities"].T},
            r"probabilities: expected .*found float32 of shape \(101, 5\)",
        ),
        (
            lambda a: {**a, "age": a["age"].astype(np.uint8)},
            "age: expected float32 .*found uint8",
        ),
    ],
)
def test_outputs_that_are_nonsense_are_one_clear_error(
    change: Any, message: str, stub: Stub, crops: np.ndarray
) -> None:
    with RemoteRuntime(stub.address) as runtime:
        stub.change = change
        with pytest.raises(RuntimeUnavailableError, match=message) as caught:
            runtime.run(crops)
        assert str(caught.value).startswith(
            f"{stub.address}/v2/models/halnet: expected the outputs"
        )
        assert len(stub.sizes) == 1  # it is not asked again
        stub.change = lambda arrays: arrays
        assert len(runtime.run(crops)) == 5


def page(status: int, body: bytes, **headers: str) -> Any:
    return lambda handler: handler.answer(status, body, **headers)


def cut_off(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "500")
    handler.end_headers()
    handler.wfile.write(bytes(200))
    handler.close_connection = True


def hang_up(handler: Any) -> None:
    handler.close_connection = True


def never_answer(handler: Any) -> None:
    time.sleep(1.0)
    handler.close_connection = True


def drip(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "500")
    handler.end_headers()
    for _ in range(20):
        handler.wfile.write(b" ")
        time.sleep(0.05)
    handler.close_connection = True


def drip_forever(start: bytes, piece: bytes) -> Callable[[Any], None]:
    """Answer with some bytes, and then with the same ones again and again."""

    def answer(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(start)
        with contextlib.suppress(OSError):  # the client has gone
            for _ in range(20):
                handler.wfile.write(piece)
                time.sleep(0.05)

    return answer


CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "tries", "message"),
    [
        (page(200, b"<html>"), 1, "an answer that is wrong .the JSON header is damaged"),
        (page(200, b"{}"), 1, 'expected a JSON object with a list "outputs"'),
        (page(200, b"{}", inference_header_content_length="9"), 1, "expected at most the 2 bytes"),
        (
            page(
                200,
                json.dumps(
                    {"outputs": [{"name": "age", "datatype": "FP32", "shape": [1], "data": [1.5]}]}
                ).encode(),
            ),
            1,
            "age: expected its numbers as bytes",
        ),
        (page(500, b'{"error": "no memory"}'), 1, r"expected status 200, found 500 \(no memory\)"),
        (page(404, b"?"), 1, "found 404; is its model named halnet?"),
        (page(302, b"", location="/elsewhere"), 1, "expected status 200, found 302"),
        (page(200, bytes(11_000_000)), 1, "found one of more than 10000000 bytes"),
        (page(429, b""), 4, "the server is busy or not ready .status 429., 4 times"),
        (page(503, b"", retry_after="0"), 4, "the server is busy or not ready .status 503., 4"),
        (cut_off, 4, "ConnectionError: 200 of 500 bytes came., 4 times"),
        (hang_up, 4, "the connection failed .RemoteDisconnected.*, 4 times"),
        (lambda handler: handler.wfile.write(b"SSH-2.0\r\n"), 4, "BadStatusLine"),
        (never_answer, 1, "found none within 0.3 seconds"),
        (drip, 1, "found none within 0.3 seconds"),
        (drip_forever(b"HTTP/1.1 200 OK\r\nx: ", b"x"), 1, "found none within 0.3 seconds"),
        (drip_forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), 1, "found none within 0.3 seconds"),
        (drip_forever(CHUNKS, b"0"), 1, "found none within 0.3 seconds"),
    ],
)
def test_bad_answers_are_one_clear_error_and_only_some_are_asked_for_again(
    answer: Any, tries: int, message: str, stub: Stub, crops: np.ndarray
) -> None:
    with RemoteRuntime(stub.address, timeout=0.3) as runtime:
        stub.raw = [answer] * 9
        start = time.monotonic()
        with pytest.raises(RuntimeUnavailableError, match=message):
            runtime.run(crops)
        assert tries > 1 or time.monotonic() - start < 0.8
        assert 9 - len(stub.raw) == tries
        stub.raw = []
        np.testing.assert_array_equal(runtime.run(crops).age, FakeRuntime().run(crops).age)


@pytest.mark.parametrize("first", [page(429, b""), page(503, b""), cut_off, hang_up])
def test_what_is_asked_again_is_counted_once(first: Any, stub: Stub, crops: np.ndarray) -> None:
    with RemoteRuntime(stub.address) as runtime:
        stub.raw = [first] * 3
        ages = runtime.run(np.concatenate([crops] * 8)).age
    expected = np.tile(FakeRuntime().run(crops).age, 8)
    np.testing.assert_array_equal(ages, expected)
    assert stub.sizes == [32, 8]


def test_a_server_that_asks_for_a_pause_gets_it(
    stub: Stub, crops: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    with RemoteRuntime(stub.address) as runtime:
        monkeypatch.setattr(time, "sleep", pauses.append)
        stub.raw = [page(429, b"", retry_after=after) for after in ("2", "9999", "soon")]
        runtime.run(crops)
    assert [pause for pause in pauses if pause != 0.02] == [2.0, 5.0, 0.0]


def test_connections_are_used_again_and_shared_by_threads(stub: Stub, crops: np.ndarray) -> None:
    with RemoteRuntime(stub.address) as runtime, ThreadPoolExecutor(4) as pool:
        list(pool.map(runtime.run, [crops] * 24))
        assert 1 <= len(runtime._client._idle) <= 4
    assert not runtime._client._idle


def test_connections_that_the_server_has_closed_cost_no_tries(
    stub: Stub, crops: np.ndarray
) -> None:
    with RemoteRuntime(stub.address) as runtime:
        kept = [runtime._client._connect(time.monotonic() + 60) for _ in range(6)]
        runtime._client._idle.extend(kept)
        for connection in kept:
            connection.sock._sock.shutdown(socket.SHUT_RDWR)
        stub.raw = [cut_off] * 2
        np.testing.assert_array_equal(runtime.run(crops).age, FakeRuntime().run(crops).age)


def test_what_a_server_sends_without_a_request_is_no_answer(stub: Stub, crops: np.ndarray) -> None:
    """Some servers answer 408 when they close a connection that is not used."""
    with RemoteRuntime(stub.address) as runtime, socket.create_server(("127.0.0.1", 0)) as other:
        kept = runtime._client._connect(time.monotonic() + 60)
        kept.sock.close()
        kept.sock = http_client._TimedSocket(socket.create_connection(other.getsockname()))
        with other.accept()[0] as there:
            there.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            runtime._client._idle.append(kept)
            ages = runtime.run(crops).age
    np.testing.assert_array_equal(ages, FakeRuntime().run(crops).age)


def test_a_connection_that_is_used_at_the_close_is_closed_after_it(
    stub: Stub, crops: np.ndarray
) -> None:
    runtime = RemoteRuntime(stub.address)
    client = runtime._client
    stub.change = lambda arrays: (client.close(), arrays)[1]
    runtime.run(crops)
    assert not client._idle


def test_a_server_that_takes_too_little_is_one_clear_error(stub: Stub, crops: np.ndarray) -> None:
    with RemoteRuntime(stub.address) as runtime:
        stub.raw = [page(413, b'{"error": "too much"}')]
        with pytest.raises(RuntimeUnavailableError, match=r"413 .too much.; .*\(--max-b") as found:
            runtime.run(crops)
        body, _ = pack({}, "inputs", {"image": np.zeros((32, 224, 224, 3), np.uint8)}, ["image"])
        assert len(body) < int(re.findall(r"[\d,]{7,}", str(found.value))[0].replace(",", ""))


def test_the_key_is_sent(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    RemoteRuntime(stub.address, api_key="sesame").close()
    assert stub.keys == {"Bearer sesame"}
    monkeypatch.setenv("HALNET_API_KEY", "from the environment")
    open_runtime(stub.address).close()
    assert stub.keys == {"Bearer sesame", "Bearer from the environment"}


def test_a_key_from_a_file_may_end_with_a_new_line(stub: Stub) -> None:
    RemoteRuntime(stub.address, api_key="sesame\r\n").close()
    assert stub.keys == {"Bearer sesame"}
    for key in ("sesam\xe9", "se\nsame", "se\x7fsame"):
        with pytest.raises(
            ConfigError, match="API key: expected one line of printable ASCII"
        ) as caught:
            RemoteRuntime(stub.address, api_key=key)
        assert "sam" not in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = tmp_path / "server.pem"
    pkcs8 = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(pem, pkcs8, plain) + made.public_bytes(pem))
    return path


def test_tls_needs_a_certificate_that_is_trusted(
    stub: Stub, certificate: Path, crops: np.ndarray
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    stub.server.socket = context.wrap_socket(stub.server.socket, server_side=True)
    address = stub.address.replace("http:", "https:")
    with pytest.raises(RuntimeUnavailableError, match="found no trusted connection .*CERTIFICATE"):
        RemoteRuntime(address)
    with RemoteRuntime(address, ca_file=certificate) as runtime:
        np.testing.assert_array_equal(runtime.run(crops).age, FakeRuntime().run(crops).age)
        stub.raw = [hang_up, cut_off]  # as a server ends that is started again
        np.testing.assert_array_equal(runtime.run(crops).age, FakeRuntime().run(crops).age)
    for file in (certificate.with_name("none.pem"), Path(__file__)):
        with pytest.raises(ConfigError, match="expected a file of certificates in the format PEM"):
            RemoteRuntime(address, ca_file=file)


def test_the_table_knows_which_models_are_addresses() -> None:
    assert backends.find_address("https://a:1/v2/models/b") == "https://a:1/v2/models/b"
    assert backends.find_address(Path("http://a:1")) == "http://a:1"
    for model in (None, "halnet.onnx", "/http/x.onnx", "http:", "ftp://a"):
        assert backends.find_address(model) is None
