"""Errors that HAL-Net raises on purpose. Each message is one line.

A message says what was expected, what was found, and what the user can do.
"""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # characters that could steer a terminal


def one_line(text: str) -> str:
    """Return a text in one line, with codes such as \\x1b in place of control characters."""
    line = "\\n".join(text.splitlines())
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", line)


class HalnetError(Exception):
    """Base class of all errors that HAL-Net raises on purpose.

    The command line prints such an error as one line and ends with exit status 2.
    """

    def __str__(self) -> str:
        """Return the message in one line, even if a name or a text of others in it has several."""
        return one_line(super().__str__())


class ImageError(HalnetError):
    """A photo or video cannot be read: missing, empty, damaged, too large, or an unknown format."""


class DetectorError(HalnetError):
    """The face detector cannot be loaded, or it returned something that is not a face."""


class ArtifactError(HalnetError):
    """A model file (a checkpoint or an exported artifact) is missing, damaged or not supported."""


class RuntimeUnavailableError(HalnetError):
    """A requested runtime, provider, device or package is missing. Nothing else is used instead."""


class DatasetError(HalnetError):
    """A dataset folder is not as expected, or a prepared dataset does not fit the request."""


class ConfigError(HalnetError):
    """An option has a wrong value, or options contradict each other or the files they name."""
