"""Usage: the memory and the open files of running processes, as Linux states them."""

import os
from pathlib import Path

PROCESSES = Path("/proc")


def resident_memory(process: int) -> float:
    """Return the resident memory of a process in megabytes, by its id.

    It is 0 for a process that is ending. Raises OSError if there is no such process.
    """
    return _status(process, "VmRSS") or 0.0


def peak_memory(process: int) -> float | None:
    """Return the largest resident memory that a process had so far, in megabytes, by its id.

    It counts from the start of the program that the process runs. (`getrusage` would begin with the
    memory of the program that started it.) The result is None where the system does not state it.
    """
    try:
        return _status(process, "VmHWM")
    except OSError:
        return None


def _status(process: int, name: str) -> float | None:
    """Return a size in megabytes from the status of a process; None if it is not in there."""
    for line in (PROCESSES / str(process) / "status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return None


def open_files(process: int) -> int:
    """Return the number of open file descriptors of a process, by its id.

    Raises OSError if there is no such process.
    """
    return len(os.listdir(PROCESSES / str(process) / "fd"))
