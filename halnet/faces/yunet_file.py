"""YuNet's file: a local copy, or one that is downloaded once into a cache folder.

It is checked by its SHA-256.
"""

import hashlib
import os
from pathlib import Path

from halnet.cache import CACHE_VARIABLE, cache_folder
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
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    folder = _cache_folder()
    try:
        # pooch writes beside the target, checks the hash and renames: the cache never holds a part.
        pooch.retrieve(
            YUNET_URL,
            known_hash=f"sha256:{YUNET_SHA256}",
            fname=YUNET_NAME,
            path=folder,
            downloader=_download_file,
        )
    except (RequestException, ValueError) as error:  # no network, or the file is another one
        raise DetectorError(
            f"the face detector {YUNET_NAME} could not be downloaded from {YUNET_URL} "
            f"({type(error).__name__}); download it by other means, and name its path with "
            f"--detector or {YUNET_VARIABLE}"
        ) from error
    except OSError as error:
        reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise DetectorError(
            f"{folder / YUNET_NAME}: the face detector cannot be read or written there: "
            f"{reason.strerror}; name another folder with {CACHE_VARIABLE}, or a copy of the file "
            f"with {YUNET_VARIABLE}"
        ) from error
    return folder / YUNET_NAME


def _cache_folder() -> Path:
    """Return the folder where a downloaded file is kept; DetectorError if there can be none."""
    try:
        return cache_folder()
    except ConfigError as error:
        raise DetectorError(
            "the face detector is kept in a cache folder, but this user has no home folder; name a "
            f"folder with {CACHE_VARIABLE}, or a copy of {YUNET_NAME} with {YUNET_VARIABLE}"
        ) from error


def _download_file(url: str, file: str, manager: object) -> None:
    """Write what is at an address into a file that pooch made."""
    import pooch

    # pooch made the file for this user alone. In a new one, the umask decides who else may read it.
    Path(file).unlink()
    pooch.HTTPDownloader(progressbar=_DownloadBar(), timeout=30)(url, file, manager)


class _DownloadBar:
    """The progress bar that pooch calls, drawn by rich. Without a terminal, it prints nothing."""

    total: float = 0

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(f"downloading {YUNET_NAME}", total=None)

    def update(self, amount: float) -> None:
        self._bar.start()
        self._bar.update(self._task, total=self.total, advance=amount)

    def reset(self) -> None:
        self._bar.reset(self._task)

    def close(self) -> None:
        self._bar.stop()
