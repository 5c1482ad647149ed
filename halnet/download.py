"""Downloads: files that are fetched once, checked by their SHA-256 and kept in the cache folder."""

from pathlib import Path

from halnet.cache import CACHE_VARIABLE, cache_folder
from halnet.errors import ConfigError


def fetch(url: str, sha256: str, name: str, what: str, options: str) -> Path:
    """Return the file `name` in the cache folder, after downloading it if it is not there yet.

    `what` is what the file is, and `options` are the options and the environment variable that name
    a copy of it. Raises ConfigError with both if the file cannot be downloaded, or if the cache
    folder cannot be used.
    """
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    try:
        folder = cache_folder()
    except ConfigError as error:
        raise ConfigError(
            f"{what} is kept in a cache folder, but this user has no home folder; name a folder "
            f"with {CACHE_VARIABLE}, or a copy of {name} with {options}"
        ) from error
    try:
        # pooch writes beside the target, checks the hash and renames: the cache never holds a part.
        pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname=name, path=folder, downloader=_download
        )
    except (RequestException, ValueError) as error:  # no network, or the file is another one
        raise ConfigError(
            f"{what} could not be downloaded from {url} ({type(error).__name__}); download it by "
            f"other means, and name its path with {options}"
        ) from error
    except OSError as error:
        reason = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise ConfigError(
            f"{folder / name}: {what} cannot be read or written there: {reason.strerror}; name "
            f"another folder with {CACHE_VARIABLE}, or a copy of the file with {options}"
        ) from error
    return folder / name


def _download(url: str, file: str, manager: object) -> None:
    """Write what is at an address into a file that pooch made."""
    import pooch

    # pooch made the file for this user alone. In a new one, the umask decides who else may read it.
    Path(file).unlink()
    bar = _DownloadBar(url.rpartition("/")[2])
    pooch.HTTPDownloader(progressbar=bar, timeout=30)(url, file, manager)


class _DownloadBar:
    """The progress bar that pooch calls, drawn by rich. Without a terminal, it prints nothing."""

    total: float = 0

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(f"downloading {name}", total=None)

    def update(self, amount: float) -> None:
        self._bar.start()
        self._bar.update(self._task, total=self.total, advance=amount)

    def reset(self) -> None:
        self._bar.reset(self._task)

    def close(self) -> None:
        self._bar.stop()
