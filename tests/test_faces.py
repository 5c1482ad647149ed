import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from halnet import faces
from halnet.benchmarks.samples import portrait
from halnet.errors import DetectorError
from halnet.faces import FaceDetector, yunet_path

CONTENT = b"stands for the model" * 1000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A local server in the place of the real address; yields the requests it had."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            body = CONTENT if self.path == "/model" else b"another file"
            self.send_response(200 if self.path != "/missing" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("HALNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HALNET_YUNET", raising=False)
    monkeypatch.setattr(faces, "YUNET_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(faces, "YUNET_URL", f"http://127.0.0.1:{httpd.server_port}/model")
    faces._fetch.cache_clear()
    yield requests
    faces._fetch.cache_clear()
    httpd.shutdown()


def test_the_model_is_fetched_once(server: list[str], tmp_path: Path) -> None:
    path = yunet_path()
    assert path.read_bytes() == CONTENT
    assert path.parent == tmp_path / "cache"
    faces._fetch.cache_clear()  # another process
    assert yunet_path() == path
    assert server == ["/model"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_another_file_under_the_address_is_refused(
    server: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("other", "missing"):
        monkeypatch.setattr(faces, "YUNET_URL", faces.YUNET_URL.rsplit("/", 1)[0] + "/" + name)
        with pytest.raises(DetectorError, match="could not be fetched.*--detector or HALNET_YUNET"):
            yunet_path()
        assert not list((tmp_path / "cache").glob("*"))


def test_without_a_network(server: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "YUNET_URL", "http://127.0.0.1:1/model")
    with pytest.raises(DetectorError, match="could not be fetched"):
        yunet_path()


def test_a_local_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DetectorError, match="cannot be read: No such file"):
        yunet_path(tmp_path / "none.onnx")
    other = tmp_path / "other.onnx"
    other.write_bytes(b"x")
    with pytest.raises(DetectorError, match="expected face_detection_yunet_2023mar.onnx"):
        yunet_path(other)
    monkeypatch.setenv("HALNET_YUNET", str(other))
    with pytest.raises(DetectorError, match="other.onnx"):
        FaceDetector()


def test_the_stored_face_of_the_portrait_is_what_yunet_finds(yunet: Path) -> None:
    image, stored = portrait()
    (found,) = FaceDetector(yunet)(image)
    np.testing.assert_allclose(found.landmarks, stored.landmarks, atol=0.5)
    np.testing.assert_allclose(found.box, stored.box, atol=1)
    # Seen from the camera: the eye on the left, then on the right, then nose and mouth below.
    (lx, ly), (rx, ry), (_, ny), (_, my), _ = found.landmarks
    assert lx < rx
    assert max(ly, ry) < ny < my


def test_all_faces_largest_first_at_any_size(yunet: Path) -> None:
    image, _ = portrait()
    face = image[30:230, 120:320]
    canvas = np.full((1500, 2000, 3), 90, np.uint8)
    canvas[100:300, 100:300] = face
    canvas[500:1300, 900:1700] = cv2.resize(face, (800, 800))
    found = FaceDetector(yunet)(canvas)
    assert len(found) == 2
    assert found[0].area > 9 * found[1].area
    x, y, width, height = found[1].box
    assert 100 < x < x + width < 300
    assert 100 < y < y + height < 300
    assert len(FaceDetector(yunet, min_face=200)(canvas)) == 1


def test_no_face(yunet: Path) -> None:
    assert FaceDetector(yunet)(np.full((300, 200, 3), 128, np.uint8)) == ()
