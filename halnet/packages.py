"""Packages: which are installed, and the error that names the cure for one that is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from halnet.errors import RuntimeUnavailableError


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first of these distributions that is installed, else None."""
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Turn a failed import inside the block into an error that names the extra to install.

    `what` is the subject of the message, such as "halnet train"; `extra` is one extra of halnet, or
    several separated by commas. Raises RuntimeUnavailableError.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            f"{what} needs {error.name}, which is not installed; pip install 'halnet[{extra}]'"
        ) from error


def import_library(module: str, what: str, extra: str) -> Any:
    """Return a module; RuntimeUnavailableError with the cure where it is not installed."""
    with needs(what, extra):
        return import_module(module)
