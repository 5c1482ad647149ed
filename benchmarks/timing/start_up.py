"""Start-up: the time from the start of a process to its first age, and its peak memory."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from halnet.runtimes.base import RuntimeOptions

MODULE = "halnet.benchmarks.timing.first_age"
LIMIT = 300.0  # seconds, after which a process is ended


@dataclass(frozen=True)
class StartUp:
    """What a process needed that opens one model and runs it. Medians of several processes."""

    seconds: float | None  # from the start of the process to the first age; None: it failed
    memory: float | None  # peak of the resident memory, megabytes; None: not known
    processes: int = 0  # that were started
    problem: str = ""  # why it failed; empty if it did not


def start_command(model: Path, options: RuntimeOptions, batch: int) -> list[str]:
    """Return the command that opens a model in a process of its own."""
    settings = (options.runtime, options.device, options.threads or 0, options.mode, batch)
    return [sys.executable, "-m", MODULE, str(model), *map(str, settings)]


def measure_starts(
    commands: Sequence[Sequence[str]],
    processes: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[StartUp]:
    """Start each command so many times, in turns, and return what each needed.

    A command prints a line when it has its first age, and then its peak memory in megabytes.
    """
    found: list[list[StartUp]] = [[] for _ in commands]
    for _ in range(processes):
        for starts, command in zip(found, commands, strict=True):
            if not (starts and starts[-1].problem):
                starts.append(_start(command, clock))
    return [_join(starts) for starts in found]


def _start(command: Sequence[str], clock: Callable[[], float]) -> StartUp:
    with tempfile.TemporaryFile() as errors:
        start = clock()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
            timer = threading.Timer(LIMIT, process.kill)
            timer.start()
            try:
                assert process.stdout is not None
                first = process.stdout.readline()
                seconds = clock() - start
                rest = process.stdout.read()
                status = process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        errors.seek(0)
        lines = errors.read().decode(errors="replace").splitlines()
    if status or not first:
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        return StartUp(None, None, 1, f"its process ended with {status}: {reason}")
    try:
        return StartUp(seconds, float(rest), 1)
    except ValueError:  # this system does not state it
        return StartUp(seconds, None, 1)


def _join(starts: Sequence[StartUp]) -> StartUp:
    """Return the medians of several starts; of a command that failed, its problem."""
    if not starts or starts[-1].problem:
        return starts[-1] if starts else StartUp(None, None)
    seconds = [start.seconds for start in starts if start.seconds is not None]
    memory = [start.memory for start in starts if start.memory is not None]
    return StartUp(median(seconds), median(memory) if memory else None, len(starts))
