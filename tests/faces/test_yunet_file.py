"""Where the file of YuNet comes from."""

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from halnet.errors import DetectorError
from halnet.faces import yunet_file
from halnet.faces.yunet import FaceDetector
from halnet.faces.yunet_file import yunet_path

CONTENT = b"the content of the model" * 1000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """Replace the real address by a local server; yield the requests that it receives."""
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
    monkeypatch.setattr(yunet_file, "YUNET_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(yunet_file, "YUNET_URL", f"http://127.0.0.1:{httpd.server_port}/model")
    yield requests
    httpd.shutdown()


def test_the_model_is_downloaded_once(server: list[str], tmp_path: Path) -> None:
    path = yunet_path()
    assert path.read_bytes() == CONTENT
    assert path.parent == tmp_path / "cache"
    assert yunet_path() == path
    assert server == ["/model"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["other", "missing"])
def test_another_file_at_the_address_is_refused(
    name: str, server: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        yunet_file, "YUNET_URL", yunet_file.YUNET_URL.rsplit("/", 1)[0] + "/" + name
    )
    with pytest.raises(DetectorError, match="could not be downloaded.*--detector or HALNET_YUNET"):
        yunet_path()
    assert server == [f"/{name}"]
    assert not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_umask_decides_who_else_may_read_the_downloaded_model(
    umask: int, mode: int, server: list[str]
) -> None:
    before = os.umask(umask)
    try:
        path = yunet_path()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("blocked", "reason"),
    [("cache", "Not a directory"), (f"cache/{yunet_file.YUNET_NAME}/folder", "Is a directory")],
)
def test_a_cache_that_cannot_be_used_is_named_with_the_cure(
    blocked: str, reason: str, server: list[str], tmp_path: Path
) -> None:
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).touch()
    path = tmp_path / "cache" / yunet_file.YUNET_NAME
    expected = (
        f"^{path}: .* cannot be read or written there: {reason}; name another folder with HALN"
    )
    with pytest.raises(DetectorError, match=expected):
        yunet_path()
    assert not server


def test_a_cache_without_permission_is_named_with_the_cure(
    server: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", "tmp123")

    (tmp_path / "cache").mkdir()
    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)  # what pooch makes in the folder
    expected = (
        f"^{tmp_path}/cache/{yunet_file.YUNET_NAME}: .*: Permission denied; .* with HALNET_CACHE"
    )
    with pytest.raises(DetectorError, match=expected):
        yunet_path()


def test_a_user_without_a_home_is_told_to_name_a_folder(
    server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HALNET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DetectorError, match="has no home folder; name a folder with HALNET_CACHE"):
        yunet_path()


def test_without_a_network_the_error_says_what_to_do(
    server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yunet_file, "YUNET_URL", "http://127.0.0.1:1/model")
    with pytest.raises(DetectorError, match="could not be downloaded.*--detector or HALNET_YUNET"):
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
