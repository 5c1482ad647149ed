"""The signal stack: the memory that signal handlers of the main thread run on.

OpenVINO changes it when it compiles a model, and changes it back when it frees the model. If models
are not freed in the opposite order, it leaves memory there that is no longer mapped, and the next
signal, such as Ctrl-C, ends the process by a segmentation fault. So what it sets is taken back at
once.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Stack(ctypes.Structure):
    """The structure stack_t of Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Let the signal stack of this thread be the same after the block as before it.

    This can be used as the decorator of a function, too.
    """
    if sys.platform != "linux":
        yield
        return
    before = _read()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)


def signal_stack() -> tuple[int, int]:
    """Return the address and the size in bytes of the signal stack of this thread.

    They are 0 where the thread has none, and on all systems but Linux.
    """
    if sys.platform != "linux":
        return 0, 0
    stack = _read()
    return stack.start or 0, stack.size


def _read() -> _Stack:
    stack = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack
