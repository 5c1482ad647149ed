"""What the tests of batches use: photos whose ages are known, a detector, a bucket, and Ray."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest

from halnet import DetectedFace, Detector, RuntimeOptions
from halnet.batch.config import BatchConfig
from halnet.prediction_run import PredictConfig

MakeConfig = Callable[..., BatchConfig]


@pytest.fixture(scope="session")
def detector() -> Detector:
    """Finds two faces, the larger one on the left, in photos that are not nearly black.

    It is a function in a function, so that Ray sends its code to the workers.
    """
    from halnet.faces.alignment import TEMPLATE

    def detect(photo: np.ndarray) -> list[DetectedFace]:
        if photo.mean() < 8:
            return []
        places = np.asarray(TEMPLATE, np.float32) / 4
        return [
            DetectedFace((5.0 + x, 5.0, width, width), places + [x, 0], 0.9)
            for x, width in ((0.0, 50.0), (60.0, 40.0))
        ]

    return detect


@pytest.fixture(scope="session")
def encode_photo() -> Callable[..., bytes]:
    """A function that returns the bytes of a PNG photo whose faces have the two ages, in years."""

    def encode(left: int, right: int | None = None) -> bytes:
        photo = np.zeros((60, 120, 3), np.uint8)
        photo[:, :60] = round(2.55 * left)
        photo[:, 60:] = round(2.55 * (left if right is None else right))
        return cv2.imencode(".png", photo)[1].tobytes()

    return encode


@pytest.fixture(scope="session")
def album(tmp_path_factory: pytest.TempPathFactory, encode_photo: Callable[..., bytes]) -> Path:
    """A folder of 30 photos with the ages 20 to 49, a wall, two bad photos and other files."""
    root = tmp_path_factory.mktemp("album")
    for age in range(20, 50):
        path = root / f"{age % 3}" / f"{age}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_photo(age, 90))
    (root / "wall.png").write_bytes(encode_photo(0))
    (root / "cut.png").write_bytes(encode_photo(30)[:60])
    (root / "empty.jpg").touch()
    (root / "notes.txt").write_text("no photo")
    (root / "._20.png").write_bytes(b"what macOS adds")
    return root


@pytest.fixture(scope="session")
def make_config(detector: Detector) -> MakeConfig:
    """A function that returns a configuration with the runtime for tests."""

    def make(source: object, out: object, **values: Any) -> BatchConfig:
        options = RuntimeOptions("fake")
        prediction = PredictConfig((), Path("fake"), options, detector=detector)
        return BatchConfig(str(source), str(out), **{"prediction": prediction, **values})

    return make


@contextmanager
def _endpoint(address: str) -> Iterator[None]:
    """Send the requests of this process and of those that it starts to another server than S3."""
    values = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def filled_bucket(album: Path) -> Iterator[str]:
    """The address of a server that speaks S3 and has the bucket `photos`, with the album."""
    pytest.importorskip("moto")
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with _endpoint(address):
        client = boto3.client("s3", endpoint_url=address)
        client.create_bucket(Bucket="photos")
        for path in album.rglob("*.*"):
            client.upload_file(str(path), "photos", f"party/{path.relative_to(album)}")
    yield address
    server.stop()


@pytest.fixture
def bucket(filled_bucket: str) -> Iterator[Callable[[str, bytes], None]]:
    """The bucket `photos` with the album in `party/`; a function that puts another object there."""
    import boto3

    with _endpoint(filled_bucket):
        client = boto3.client("s3", endpoint_url=filled_bucket)
        yield lambda key, data: client.put_object(Bucket="photos", Key=key, Body=data)


class _Forbidding(BaseHTTPRequestHandler):
    """Answers every request as S3 does where the permission is missing."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815 - names of http.server

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def forbidden() -> Iterator[None]:
    """S3 without any permission."""
    with HTTPServer(("127.0.0.1", 0), _Forbidding) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with _endpoint(f"http://127.0.0.1:{server.server_address[1]}"):
            yield
        server.shutdown()


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ray cluster of two cores, to which this process is connected.

    It ends with the module: Ray ends a process that loses its cluster, in later tests too.
    """
    pytest.importorskip("ray")
    from halnet.batch.ray_session import ray_session

    # Ray lets its workers import from the folder in which it is started.
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("ray"))
    try:
        with ray_session(None, 2) as ray:
            os.chdir(before)
            yield ray.get_runtime_context().gcs_address
    finally:
        os.chdir(before)
