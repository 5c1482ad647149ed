"""What `halnet serve` serves, where, and how much a request may ask for."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from halnet.errors import ConfigError
from halnet.faces.detected import Detector
from halnet.photos.images import MAX_PIXELS
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.remote import clean_key


@dataclass(frozen=True)
class Limits:
    """How much a request may ask for, and how many requests there may be.

    Raises ConfigError for a limit that is not above 0.
    """

    bytes: int = 20_000_000  # of the body of a request
    pixels: int = MAX_PIXELS  # of a photo: width times height
    photos: int = 16  # in one request
    faces: int = 100  # in one photo
    seconds: float = 30.0  # from the first byte of a request to its answer
    requests: int = 64  # that are read, wait or are processed at the same time

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"limit of {name}: expected a number above 0, found {value}")


@dataclass(frozen=True)
class ServeConfig:
    """Which model is served, at which address, and with which limits.

    Raises ConfigError for a key that cannot be sent in a header, or is empty.
    """

    model: Path | None = None  # None: the model that is installed with halnet
    options: RuntimeOptions = RuntimeOptions()
    workers: int | None = None  # photos at the same time; None: see `count_workers`
    batch: int | None = None  # crops of several requests in one inference; None: see `open_batches`
    detector: Path | Detector | None = None  # None: YuNet, see `yunet_path`
    min_face: float = 0.0  # pixels; faces with a narrower box are left out
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free port
    api_key: str | None = field(default=None, repr=False)  # None: everybody may ask
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.api_key is not None:
            object.__setattr__(self, "api_key", clean_key(self.api_key))
        if self.api_key == "":
            raise ConfigError("API key: expected at least one character, found none; name a key")

    @property
    def private(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
