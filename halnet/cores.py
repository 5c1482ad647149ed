"""Cores: how many of them this process may use, and what limits it.

The number of cores of the machine is the wrong number of threads for a process that is pinned to
some of them, or that a container allows a share of their time. More threads than usable cores wait
for each other, and one inference then takes many times as long.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from halnet.errors import ConfigError

CONTROL_GROUPS = Path("/sys/fs/cgroup")  # where Linux shows the control groups (cgroups)
MEMBERSHIP = Path("/proc/self/cgroup")  # the groups of this process
MAX_THREADS = 1024  # of one inference


@dataclass(frozen=True)
class Cores:
    """The cores of this machine, as the operating system counts them."""

    usable: int  # cores that this process may use; a share of a core counts as a whole one
    present: int  # cores of the machine
    limit: str = ""  # what makes fewer cores usable; empty if all of them are


def find_cores(groups: Path = CONTROL_GROUPS, membership: Path = MEMBERSHIP) -> Cores:
    """Return the cores that the CPU affinity and the CPU quota of the control group allow."""
    present = os.cpu_count() or 1
    pinned = _count_affinity() or present
    quota = _find_quota(groups, membership)
    if quota < pinned:
        return Cores(max(1, math.ceil(quota)), present, "the CPU quota of the control group")
    return Cores(pinned, present, "the CPU affinity" if pinned < present else "")


def check_threads(threads: int | None) -> None:
    """Raise ConfigError for a number of threads below 1, or so large that it stops a machine."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ConfigError(f"threads: expected 1 to {MAX_THREADS}, found {threads}")


def thread_count(threads: int | None) -> int:
    """Return `threads`; for None, the number of usable cores. Raises what `check_threads` does."""
    check_threads(threads)
    return find_cores().usable if threads is None else threads


def describe_threads(threads: int | None = None) -> str:
    """Return how many threads an inference on the CPU has with this setting, and why."""
    cores, count = find_cores(), thread_count(threads)
    reason = "one for each core"
    if threads:
        reason = "as requested"
    elif cores.limit:
        reason = f"because {cores.limit} allows {cores.usable} of {cores.present} cores"
    return f"{count} {'thread' if count == 1 else 'threads'}, {reason}"


def _count_affinity() -> int | None:
    """Return the number of cores that this process is allowed to run on."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        count: int | None = os.process_cpu_count()
        return count
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _find_quota(groups: Path, membership: Path) -> float:
    """Return the cores that the quotas allow, which can be a fraction; infinity without quotas.

    The quota of each group above the own one counts too. In a container, the path of the own group
    may be that of the host: then only the root of the container is there to read.
    """
    return min(_quotas(groups, membership), default=math.inf)


def _quotas(groups: Path, membership: Path) -> Iterator[float]:
    files: tuple[str, ...]
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2 has one tree of groups for all controllers
            root, files = groups, ("cpu.max",)
        elif "cpu" in controllers.split(","):  # version 1
            root, files = groups / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        else:
            continue
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                yield _parse_quota(" ".join(_read(folder / file) for file in files))


def _parse_quota(text: str) -> float:
    """Return the cores for "quota period", both in microseconds. No quota is "max" or -1."""
    try:
        quota, period = map(float, text.split())
    except ValueError:
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # another system, or a group without this file
        return ""
