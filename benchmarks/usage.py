"""Usage: the memory and the open files of running processes, as Linux states them."""

import os
from pathlib import Path

PROCESSES = Path("/proc")


def resident_memory(process: int) -> float:
    """Return the resident memory of a process in megabytes, by its id.

    It is 0 for a process that is ending. Raises OSError if there is no such process.
    """
    for line in (PROCESSES / str(process) / "status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def open_files(process: int) -> int:
    """Return the number of open file descriptors of a process, by its id.

    Raises OSError if there is no such process.
    """
    return len(os.listdir(PROCESSES / str(process) / "fd"))
