"""Web: writes a folder that any file server can serve, and that estimates ages in a browser.

It consists of the model, YuNet, onnxruntime-web, the modules of `export/web`, and a page that uses
them. docs/browser.md describes it.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from halnet import __version__
from halnet.artifact import WEB_FILES, WEB_MODEL, Metadata, sha256_file
from halnet.export.config import Target
from halnet.export.onnxruntime_web import find_package, find_version, read_package
from halnet.export.to_onnx import write_onnx
from halnet.faces.yunet_engines import free_sizes
from halnet.faces.yunet_file import yunet_path

CONTENTS_FILE = "halnet.json"  # lists the other files with their SHA-256
CONTENTS_FORMAT = 1  # version of this list, which halnet.js checks
LICENCES_FILE = "LICENCES.txt"
YUNET_FILE = "yunet.onnx"
SOURCES = files("halnet.export") / "web"  # the modules and the page


def check_target(target: Target, precisions: Sequence[str]) -> None:
    """Find the files of YuNet and onnxruntime-web, so that a missing one is found before the work.

    Raises DetectorError for YuNet and ConfigError for onnxruntime-web.
    """
    del precisions
    yunet_path(target.detector)
    find_package(target.onnxruntime_web)


def write_web(proto: Any, metadata: Metadata, path: Path, target: Target) -> None:
    """Write a traced network as a folder with a page and all that the page needs.

    Raises what `check_target` and `write_onnx` raise.
    """
    path.mkdir()
    write_onnx(proto, metadata, path / WEB_MODEL, target)
    yunet = free_sizes(yunet_path(target.detector).read_bytes())
    runtime = read_package(find_package(target.onnxruntime_web))
    version = find_version(runtime)
    # A tool may leave other files in an editable installation.
    written = {
        **{file.name: file.read_bytes() for file in SOURCES.iterdir() if file.name in WEB_FILES},
        **runtime,
        YUNET_FILE: yunet,
        LICENCES_FILE: _licences(metadata, version).encode(),  # in the place of its template
    }
    for name, data in written.items():
        (path / name).write_bytes(data)
    contents = {
        "format": CONTENTS_FORMAT,
        "halnet": __version__,
        "onnxruntime_web": version,
        "model": WEB_MODEL,
        "detector": YUNET_FILE,
        "precision": metadata.precision,
        "checkpoint_sha256": metadata.checkpoint_sha256,
        "input_fingerprint": metadata.input.fingerprint(),
        "files": {file.name: _describe(file) for file in sorted(path.iterdir())},
    }
    (path / CONTENTS_FILE).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


def _describe(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_file(file)}


def _licences(metadata: Metadata, version: str) -> str:
    template = (SOURCES / LICENCES_FILE).read_text(encoding="utf-8")
    return template.format(
        licence=metadata.licence or "not stated",
        terms=metadata.terms or "not stated",
        version=version,
    )
