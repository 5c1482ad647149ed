"""Quiet: keeps converters, which print each of their steps, from printing."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what runs in the block from printing, warning and logging."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        logging.disable(before)
