"""Processes: run halnet commands in processes of their own, and find a browser for the demo."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from halnet.errors import ConfigError

COMMAND = (sys.executable, "-c", "from halnet.commands import main; main()")  # halnet
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 60.0  # that a process may take until it is ready


def find_browser() -> str | None:
    """Return the path of Chromium, or None where it is not installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def served(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a `halnet demo` command on a free port, and yield the page's address and the process.

    The process runs in `folder` with the variables in `environment`, and is stopped when the block
    ends. Raises ConfigError where the page cannot be reached.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*command, "--no-browser", "--port", str(port)],
        stdout=subprocess.DEVNULL,  # only the address is printed there, and errors on stderr
        env=environment,
        cwd=folder,
    ) as process:
        try:
            wait_until(lambda: _is_open(port), process)
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until `ready` returns True.

    Raises ConfigError where the process ends before that, or `START_SECONDS` pass.
    """
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None:
            raise ConfigError(
                f"expected a process that is ready, found that it ended with status "
                f"{process.returncode}; its errors are printed above"
            )
        if time.monotonic() > deadline:
            raise ConfigError(
                f"expected a process that is ready within {START_SECONDS:.0f} seconds, found that "
                "it is not; close other programs and try again"
            )
        time.sleep(0.05)


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
