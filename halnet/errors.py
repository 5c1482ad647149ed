"""Errors that HAL-Net raises on purpose: one line with what was wanted, found, and the cure."""


class HalnetError(Exception):
    """Base of all errors raised on purpose; the command line prints it as one line, status 2."""


class ImageError(HalnetError):
    """A photo cannot be read: missing, empty, damaged, too large or of an unknown format."""


class DetectorError(HalnetError):
    """The face detector's model is missing, cannot be fetched or is not the expected file."""


class ArtifactError(HalnetError):
    """A model file (checkpoint or exported artifact) is damaged, foreign or of another contract."""


class RuntimeUnavailableError(HalnetError):
    """The runtime, provider or device that was asked for is not there; nothing else was used."""


class DatasetError(HalnetError):
    """A dataset folder is not what it should be, or a prepared one does not fit the request."""


class ConfigError(HalnetError):
    """Options that contradict each other or the files they point to."""
