"""onnxruntime-web: the files of ONNX Runtime that a browser needs, from its npm package."""

import os
import re
import tarfile
from pathlib import Path

from halnet.download import fetch
from halnet.errors import ConfigError

VERSION = "1.30.0"  # the version that is downloaded and tested
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/{ARCHIVE}"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
VARIABLE = "HALNET_ONNXRUNTIME_WEB"  # environment variable: folder of the installed package
SCRIPT = "ort.wasm.min.mjs"
FILES = (SCRIPT, "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PLACES = ("dist", "node_modules/onnxruntime-web/dist", ".")  # of these files in a folder
CURE = f"npm install --prefix FOLDER onnxruntime-web@{VERSION}"


def find_package(folder: Path | None = None) -> Path:
    """Return the folder with the files of onnxruntime-web, or the archive that contains them.

    The folder is in `folder`, or in the one that the environment variable HALNET_ONNXRUNTIME_WEB
    names: that of the package, or one into which npm has installed it. Without both, the archive of
    the package is downloaded once into the cache folder. Raises ConfigError if the files are in
    none of these places.
    """
    named = folder or os.environ.get(VARIABLE)
    if not named:
        options = f"--onnxruntime-web or {VARIABLE}"
        return fetch(URL, SHA256, ARCHIVE, f"onnxruntime-web {VERSION}", options)
    for place in PLACES:
        if all((Path(named) / place / name).is_file() for name in FILES):
            return Path(named) / place
    raise ConfigError(
        f"{named}: expected the npm package onnxruntime-web, found no folder with "
        f"{', '.join(FILES)}; install it with {CURE}"
    )


def read_package(package: Path) -> dict[str, bytes]:
    """Return the content of each file by its name, from what `find_package` returned."""
    if package.is_dir():
        return {name: (package / name).read_bytes() for name in FILES}
    with tarfile.open(package) as archive:
        members = {name: archive.extractfile(f"package/dist/{name}") for name in FILES}
        return {name: file.read() for name, file in members.items() if file is not None}


def find_version(files: dict[str, bytes]) -> str:
    """Return the version that the files of onnxruntime-web state, such as "1.30.0"."""
    found = re.search(rb"ONNX Runtime Web v([\w.-]+)", files[SCRIPT][:1000])
    return found[1].decode() if found else "of an unknown version"
