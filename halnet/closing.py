"""Closing: a context manager for objects that have to be closed."""

from types import TracebackType
from typing import Self


class Closing:
    """Mixin that calls close() when a `with` block ends."""

    def close(self) -> None:
        """Release what the object holds. Without an override, this does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
