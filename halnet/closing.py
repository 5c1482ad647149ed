"""Closing: what holds something until it is closed, as a context manager."""

from types import TracebackType
from typing import Self


class Closing:
    """Is closed where a `with` block ends."""

    def close(self) -> None:
        """Free what is held; nothing by default."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
