"""The demo as a process of its own, and the browser that it is looked at in."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from halnet.errors import ConfigError

COMMAND = (sys.executable, "-c", "from halnet.commands import main; main()")  # halnet
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60.0  # that the page has to start


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
            _wait(port, process)
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ConfigError(f"the demo cannot be reached at port {port}") from error
            time.sleep(0.1)
