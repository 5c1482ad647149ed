"""Packages: which versions are installed, and what to install if a package is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from halnet.errors import RuntimeUnavailableError


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first of these distributions that is installed.

    Returns None if none of them is installed. The packages are not imported.
    """
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


@contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Turn a failed import inside the block into an error that names the extra to install.

    `what` is the subject of the message, such as "halnet train". `extra` is one extra of halnet, or
    several separated by commas. Raises RuntimeUnavailableError.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise RuntimeUnavailableError(
            f"{what} needs {package}, which is not installed; pip install 'halnet[{extra}]'"
        ) from error
    except ImportError as error:  # it is installed, but one of its shared libraries is missing
        raise RuntimeUnavailableError(
            f"{what} needs {error.name or 'a library'}, which cannot be loaded: "
            f"{str(error).splitlines()[0]}; install it again with pip install 'halnet[{extra}]'"
        ) from error


def import_library(module: str, what: str, extra: str) -> Any:
    """Import a module and return it. `what` and `extra` are those of `needs`.

    Raises RuntimeUnavailableError if the module is not installed.
    """
    with needs(what, extra):
        return import_module(module)
