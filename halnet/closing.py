"""Closing: a context manager for objects that have to be closed."""

from types import TracebackType
from typing import Self

from halnet.errors import ConfigError


class Closing:
    """Mixin that calls close() when a `with` block ends.

    The methods of a subclass that need what close() releases call `check_open` first.
    """

    _closed = False

    def close(self) -> None:
        """Release what the object holds. A second call does nothing."""
        self._closed = True

    def check_open(self) -> None:
        """Raise ConfigError after close()."""
        if self._closed:
            raise ConfigError(f"{type(self).__name__}: used after close(); open a new one")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
