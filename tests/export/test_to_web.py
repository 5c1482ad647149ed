"""The folder for browsers: its files, where those of others come from, and what is refused."""

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from halnet.artifact import WEB_FILES, artifact_files, bundled, sha256_artifact, sha256_file
from halnet.errors import ArtifactError, ConfigError, DetectorError
from halnet.export import ExportConfig, Target, export, onnxruntime_web, to_web
from halnet.export.onnxruntime_web import FILES, find_package, find_version, read_package
from halnet.runtimes.backends import describe, open_runtime

CONTENT = {name: f"/* ONNX Runtime Web v9.8.7\n {name} */".encode() for name in FILES}


def write_package(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, data in CONTENT.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def _no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reaches the real address."""
    monkeypatch.delenv("HALNET_ONNXRUNTIME_WEB", raising=False)
    monkeypatch.setenv("HALNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(onnxruntime_web, "URL", "http://127.0.0.1:1/package.tgz")


def test_the_sources_are_the_files_that_are_neither_models_nor_of_others() -> None:
    """A file of export/web that is missing in `WEB_FILES` would not be exported."""
    sources = {source.name for source in to_web.SOURCES.iterdir()}
    made = {"halnet.onnx", "yunet.onnx", "halnet.json", *FILES}
    assert sources == set(WEB_FILES) - made
    assert len(set(WEB_FILES)) == len(WEB_FILES)


def test_a_folder_states_its_files_and_runs_as_a_model(web_folder: Path) -> None:
    assert {file.name for file in web_folder.iterdir()} == set(WEB_FILES)
    contents = json.loads((web_folder / "halnet.json").read_text())
    assert contents["format"] == 1
    assert contents["input_fingerprint"] == describe(web_folder).metadata.input.fingerprint()
    assert set(contents["files"]) == set(WEB_FILES) - {"halnet.json"}
    for name, entry in contents["files"].items():
        data = (web_folder / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    licences = (web_folder / "LICENCES.txt").read_text()
    for text in (
        "Licence: research only, non-commercial.",
        "FairFace: CC BY 4.0",
        f"onnxruntime-web {contents['onnxruntime_web']}",
        "Shiqi Yu",
        "Microsoft",
    ):
        assert text in licences
    crops = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    with open_runtime(web_folder) as page, open_runtime(bundled("halnet.onnx")) as model:
        assert page.spec.runtime == "onnxruntime"
        np.testing.assert_array_equal(page.run(crops).age, model.run(crops).age)


def test_yunet_in_the_folder_takes_pictures_of_any_size(web_folder: Path) -> None:
    graph = onnx.load(web_folder / "yunet.onnx").graph
    sizes = [size.dim_value for size in graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [1, 3, 0, 0]
    assert not graph.value_info


def test_the_hash_of_a_folder_changes_with_each_file(web_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "halnet_web"
    copy.mkdir()
    for file in artifact_files(web_folder):
        (copy / file.name).write_bytes(file.read_bytes())
    assert sha256_artifact(copy) == sha256_artifact(web_folder)
    (copy / "hidden.tmp").write_text("not part of it")
    assert sha256_artifact(copy) == sha256_artifact(web_folder)
    (copy / "page.js").write_text("changed")
    assert sha256_artifact(copy) != sha256_artifact(web_folder)


def test_a_folder_without_its_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "halnet_web").mkdir()
    with pytest.raises(ArtifactError, match=r"halnet_web/halnet.onnx: cannot be read: No such"):
        open_runtime(tmp_path / "halnet_web")


def test_an_export_writes_checks_and_lists_the_folder(
    checkpoint: Path, yunet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALNET_ONNXRUNTIME_WEB", str(write_package(tmp_path / "package")))
    asked: list[tuple[Path, str]] = []

    def check(path: Path, runtime: str) -> Any:
        asked.append((path, runtime))
        with open_runtime(path, runtime) as opened:
            assert opened.spec.metadata.checkpoint_sha256 == sha256_file(checkpoint)
        return type("Passed", (), {"data": "x", "passed": True, "to_dict": lambda self: {}})()

    target = Target(detector=yunet)
    config = ExportConfig(checkpoint, ("web",), batch=2, out=tmp_path / "out", target=target)
    (exported,) = export(config, check)
    assert exported.path == tmp_path / "out" / "halnet_web"
    assert [(path.name, runtime) for path, runtime in asked] == [("halnet_web", "onnxruntime")]
    entry = json.loads((tmp_path / "out" / "manifest.json").read_text())["artifacts"]["halnet_web"]
    assert entry["sha256"] == sha256_artifact(exported.path)
    assert entry["bytes"] == sum(file.stat().st_size for file in exported.path.iterdir())
    contents = json.loads((exported.path / "halnet.json").read_text())
    assert contents["onnxruntime_web"] == "9.8.7"


@pytest.mark.parametrize("missing", ["detector", "onnxruntime_web"])
def test_a_missing_file_is_found_before_the_work(
    missing: str, yunet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: dict[str, Path] = {
        "detector": yunet,
        "onnxruntime_web": write_package(tmp_path / "package"),
        missing: tmp_path / "nothing",
    }
    config = ExportConfig(formats=("web",), out=tmp_path / "out", target=Target(**places))
    lines: list[str] = []
    with pytest.raises(
        (ConfigError, DetectorError), match=r"nothing: (the YuNet|expected the npm)"
    ):
        export(config, on_step=lines.append)
    assert not lines
    assert not (tmp_path / "out" / "halnet_web").exists()


@pytest.mark.parametrize("place", [".", "dist", "node_modules/onnxruntime-web/dist"])
def test_the_files_of_a_package_that_npm_installed(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path / "package" / place)
    assert find_package(tmp_path / "package").samefile(folder)
    monkeypatch.setenv("HALNET_ONNXRUNTIME_WEB", str(tmp_path / "package"))
    files = read_package(find_package())
    assert files == CONTENT
    assert find_version(files) == "9.8.7"
    (folder / FILES[-1]).unlink()
    with pytest.raises(
        ConfigError, match=r"package: .*npm install --prefix FOLDER onnxruntime-web@"
    ):
        find_package()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Replace the real address by a local server; yield the requests that it receives."""
    requests: list[str] = []
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, data in {"other.js": b"x", **CONTENT}.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    body = archive.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{httpd.server_port}/package.tgz"
    monkeypatch.setattr(onnxruntime_web, "URL", address)
    monkeypatch.setattr(onnxruntime_web, "SHA256", hashlib.sha256(body).hexdigest())
    yield requests
    httpd.shutdown()


def test_the_package_is_downloaded_once(server: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        package = find_package()
        assert read_package(package) == CONTENT
    assert package.parent == tmp_path / "cache"
    assert server == ["/package.tgz"]


def test_another_package_at_the_address_is_refused(
    server: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(onnxruntime_web, "SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="could not be downloaded.*--onnxruntime-web or HALNET_O"):
        find_package()
    assert server == ["/package.tgz"]
    assert not list((tmp_path / "cache").iterdir())


def test_without_a_network_the_error_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"onnxruntime-web 1\.\d+\.\d+ could not be downloaded f"):
        find_package()
