"""Commands as processes of their own, the demo among them, and the browser that it is seen in."""

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
SECONDS = 60.0  # that a process has to start


def find_browser() -> str | None:
    """Return the path of Chromium, None where it is not installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def served(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a `halnet demo` command on a free port; yield its address and its process, until it ends.

    Raises ConfigError where the page cannot be reached.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*command, "--no-browser", "--port", str(port)],
        stdout=subprocess.DEVNULL,  # the address; what goes wrong is on stderr
        env=environment,
        cwd=folder,
    ) as process:
        try:
            wait_until(lambda: _listens(port), process)
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Return when `ready` says so; ConfigError where the process ends before, or takes SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not ready():
        if process.poll() is not None:
            raise ConfigError(f"the process ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise ConfigError(f"the process was not ready after {SECONDS:.0f} seconds")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
