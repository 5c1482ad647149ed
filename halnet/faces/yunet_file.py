"""YuNet's file: a local copy, or one that is downloaded once into a cache folder.

It is checked by its SHA-256.
"""

import hashlib
import os
from pathlib import Path

from halnet.download import fetch
from halnet.errors import ConfigError, DetectorError

YUNET_NAME = "face_detection_yunet_2023mar.onnx"
YUNET_URL = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/" + YUNET_NAME
)
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
YUNET_VARIABLE = "HALNET_YUNET"  # environment variable: path of a local copy of the YuNet file


def yunet_path(model: str | Path | None = None) -> Path:
    """Return the path of a YuNet file, after its SHA-256 was checked.

    This is `model`, or the file that the environment variable HALNET_YUNET names. Without both, it
    is a file in a cache folder, which is downloaded on first use. The environment variable
    HALNET_CACHE names that folder; without it, the user's cache folder for halnet is used (on
    Linux, ~/.cache/halnet).

    Raises DetectorError if the file cannot be read or downloaded, is not the expected one, or if
    the cache folder cannot be used.
    """
    local = model or os.environ.get(YUNET_VARIABLE)
    return _check_local(Path(local)) if local else _download()


def _check_local(path: Path) -> Path:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DetectorError(
            f"{path}: the YuNet model cannot be read: {error.strerror}; download it from "
            f"{YUNET_URL}"
        ) from error
    if found != YUNET_SHA256:
        raise DetectorError(
            f"{path}: expected {YUNET_NAME} with SHA-256 {YUNET_SHA256[:12]}..., "
            f"found {found[:12]}...; download it from {YUNET_URL}"
        )
    return path


def _download() -> Path:
    """Return the file in the cache folder, after downloading it if it is not there yet."""
    what = f"the face detector {YUNET_NAME}"
    options = f"--detector or {YUNET_VARIABLE}"
    try:
        return fetch(YUNET_URL, YUNET_SHA256, YUNET_NAME, what, options)
    except ConfigError as error:
        raise DetectorError(str(error)) from error
