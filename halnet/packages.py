"""Packages: which are installed, in which versions, and what to install if one is missing.

A module is asked for, not the package (distribution) that pip knows: several packages contain the
same module, and a frozen application contains modules only.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from halnet.errors import RuntimeUnavailableError

NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"  # environment variable of ONNX Runtime
OPENCV_VERSION = (4, 13)  # the oldest that halnet runs with; pyproject.toml states it too
OPENCV_PARTS = ("dnn.readNetFromONNX", "IMREAD_COLOR_RGB", "utils.logging")  # not in every build


def is_installed(module: str) -> bool:
    """Return whether a top-level module can be imported. It is not imported.

    A folder without code, such as one that pip leaves behind when it removes a package, is none.
    """
    if sys.modules.get(module) is not None:  # a module that is loaded may have no specification
        return True
    spec = find_spec(module)
    return spec is not None and spec.origin is not None


def has_file(module: str, name: str) -> bool:
    """Return whether an installed package contains a file. The package is not imported."""
    spec = find_spec(module)
    folders = (spec and spec.submodule_search_locations) or ()
    return any(Path(folder, name).exists() for folder in folders)


def installed_version(module: str) -> str | None:
    """Return the version of a top-level module, or None if it is not installed.

    This is the version of the package that contains the module. If there is no such package, or
    more than one, the module is imported and its own version returned, or "unknown".
    """
    if not is_installed(module):
        return None
    packages = _packages_with(module)
    if len(packages) == 1:
        return _version(packages[0])
    with suppress(ImportError, OSError, AttributeError):
        return str(import_module(module).__version__)
    return "unknown"


def _packages_with(module: str) -> list[str]:
    """Return the names of the packages that contain a module, as pip knows them."""
    return sorted(set(_packages().get(module, ())))


@cache
def _packages() -> dict[str, list[str]]:
    # It is imported here because it takes 10 ms, and most commands do not need it.
    metadata = import_module("importlib.metadata")
    return dict(metadata.packages_distributions())


def _version(package: str) -> str:
    return str(import_module("importlib.metadata").version(package))


def check_opencv() -> None:
    """Raise RuntimeUnavailableError if OpenCV is missing, too old or without a part that is needed.

    Several packages contain the module `cv2`, each of them in the same files. The one that was
    installed last is what is imported, and pip reports no conflict.
    """
    try:
        cv2 = import_module("cv2")
    except (ImportError, AttributeError, RuntimeError) as error:  # files of several packages
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        found = f"cv2, which cannot be imported ({reason})"
    else:
        number = getattr(cv2, "__version__", "without a version")
        lacking = [f"cv2.{part}" for part in OPENCV_PARTS if not _has_part(cv2, part)]
        if not lacking and tuple(map(int, re.findall(r"\d+", number)[:2])) >= OPENCV_VERSION:
            return
        found = f"cv2 {number} in {_folder(cv2)}"
        found += f", which has no {' and no '.join(lacking)}" if lacking else ""
    packages = _packages_with("cv2")
    named = ", ".join(f"{package} {_version(package)}" for package in packages)
    removal = f"pip uninstall {' '.join(packages)}, then " if packages else ""
    oldest = ".".join(map(str, OPENCV_VERSION))
    raise RuntimeUnavailableError(
        f"halnet needs OpenCV {oldest} or later, found {found}"
        f" (installed packages: {named or 'none'}); {removal}"
        f"pip install 'opencv-python-headless>={oldest}'"
    )


def _has_part(module: Any, name: str) -> bool:
    for part in name.split("."):
        module = getattr(module, part, None)
    return module is not None


def _folder(module: Any) -> str:
    return str(next(iter(getattr(module, "__path__", ())), module))


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


def import_onnxruntime(what: str = "runtime onnxruntime", extra: str = "onnxruntime") -> Any:
    """Import ONNX Runtime and return it; RuntimeUnavailableError if it is not installed.

    `what` and `extra` are those of `needs`. From version 1.29 on, ONNX Runtime
    sends events about the models that it runs to Microsoft, unless a variable is set when it is
    first imported. Its thread for this also makes a forked process wait for ever at its end. A
    program that has set the variable decides itself.
    """
    is_set = NO_TELEMETRY in os.environ
    os.environ.setdefault(NO_TELEMETRY, "1")
    try:
        return import_library("onnxruntime", what, extra)
    finally:
        if not is_set:
            del os.environ[NO_TELEMETRY]


def import_openvino(what: str = "runtime openvino", extra: str = "openvino") -> Any:
    """Import OpenVINO and return it; RuntimeUnavailableError if it is not installed.

    `what` and `extra` are those of `needs`. OpenVINO sends an event to an analytics
    server on each import, unless its package openvino_telemetry is missing. Here, that package is
    hidden from it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_library("openvino", what, extra)
