"""Settings of the C library that make a training on the CPU faster."""

import ctypes
import logging

# Parameters of mallopt, with their values in malloc.h of glibc.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
_PAD = 64 << 20  # bytes that are requested from the system at a time

log = logging.getLogger(__name__)


def keep_freed_memory() -> bool:
    """Make this process keep the memory that it frees, instead of returning it to the system.

    By default, glibc requests new pages for each large tensor and returns them when the tensor is
    freed. In a training at 224 pixels on two cores, this takes a third of the time of each step.
    Returns whether the setting succeeded: C libraries other than glibc do not support it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        log.debug("this C library has no mallopt, so it manages memory in its default way")
        return False
    return all(
        mallopt(name, value) == 1
        for name, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, _PAD))
    )
