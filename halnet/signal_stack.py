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
    change = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    change(None, ctypes.byref(before))
    try:
        yield
    finally:
        change(ctypes.byref(before), None)
