"""Forking: what becomes of an open model in a process that is forked after it was opened.

The new process has a copy of the memory, but none of the threads. A library that waits for its
threads there would wait for ever, both in an inference and when it releases a model. So an object
that holds a model notices at its first use in a forked process that it is in another process. Then
it works in a way that needs no old threads, or raises an error that says what to do.
"""

import ctypes
import os
import threading
from weakref import WeakSet

from halnet.errors import RuntimeUnavailableError


class Forkable:
    """Mixin that notices the first use in a forked process.

    A subclass calls `check_process` before it uses what does not survive a fork.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        _alive.add(self)

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked since the object was made or made ready."""
        return self._process != os.getpid()

    def check_process(self) -> None:
        """Call `_after_fork` once in each forked process."""
        if not self.is_forked:
            return
        with _lock:
            if self.is_forked:
                self._after_fork()
                self._process = os.getpid()

    def _after_fork(self) -> None:
        """Get ready to work in a forked process. By default, raise RuntimeUnavailableError."""
        raise RuntimeUnavailableError(
            f"{type(self).__name__}: it was opened before this process was forked, and its library "
            "does not work in forked processes; open it in the new process, or start processes "
            "with multiprocessing.get_context('spawn')"
        )


_lock = threading.Lock()
_alive: WeakSet[Forkable] = WeakSet()


def _keep_libraries() -> None:
    """Never release, in a forked process, what the objects of the old process hold.

    Otherwise, the libraries would wait for their lost threads, at the latest at the end of the
    process. The memory is that of the old process, so this costs nothing.
    """
    for instance in list(_alive):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(dict(vars(instance))))


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_keep_libraries)
