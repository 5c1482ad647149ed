"""Process: a peer that runs in a process of its own, in any language and environment."""

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from halnet.benchmarks.peers.answers import About, Answer, PeerError, parse_about, parse_answer
from halnet.files import NAME_ERRORS

SECONDS_TO_END = 5.0  # that a process has after its standard input was closed


class PeerProcess:
    """A running peer.

    `command` is started in `folder` with the environment variables `environment`. It reads paths
    and writes answers as `halnet.benchmarks.peers.answers` states. What it writes to standard error
    is in the file `log`. `patience` is how many seconds it may take to start, and for each photo.

    `about` and `start` wait for the peer. Raises PeerError if the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        folder: Path,
        environment: Mapping[str, str],
        patience: float,
    ) -> None:
        self._log, self._patience = log, patience
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._started = time.perf_counter()
        with open(log, "wb") as errors:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=folder,
                    env=environment,
                    start_new_session=True,  # so that its own processes can be ended with it
                )
            except OSError as error:
                raise PeerError(f"{command[0]} cannot be started: {error.strerror}") from error
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, photo: Path) -> tuple[About, float]:
        """Return what the peer states about itself, and its start-up time in seconds.

        The time begins with the start of the process and ends with the answer for `photo`. Raises
        PeerError if the peer has no answer.
        """
        about = parse_about(self._next_line("to start"))
        answer = self.ask(photo)
        seconds = time.perf_counter() - self._started
        if answer.error:
            raise PeerError(answer.error)
        return about, seconds

    def ask(self, photo: Path) -> Answer:
        """Return the answer for a photo.

        Raises PeerError if the process has ended, takes too long or writes something else.
        """
        assert self._process.stdin is not None
        start = time.perf_counter()
        # If the process has ended, there is no next line, which says more than a broken pipe.
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{photo}\n".encode(errors=NAME_ERRORS))
            self._process.stdin.flush()
        line = self._next_line(f"for {photo.name}")
        return parse_answer(line, str(photo), time.perf_counter() - start)

    def close(self) -> None:
        """End the process, and all processes that it has started."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(SECONDS_TO_END)
        with suppress(ProcessLookupError):  # all of them have ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(b"")

    def _next_line(self, work: str) -> bytes:
        try:
            line = self._lines.get(timeout=self._patience)
        except queue.Empty:
            raise PeerError(f"it took more than {self._patience:g} seconds {work}") from None
        if line:
            return line
        status = self._process.wait()
        raise PeerError(self._last_words() or f"it ended with exit status {status}")

    def _last_words(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""
