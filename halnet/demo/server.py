"""The web demo: a Streamlit page with a mode in each file, served to this machine alone.

`app.py` is the page; to add a mode, write a file beside it with a function (choice) that shows it,
and give it a line in `app.MODES`.
"""

import ipaddress
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self

from halnet.errors import ConfigError

VARIABLE = "HALNET_DEMO"  # environment variable: how the page is told its DemoConfig
APP = Path(__file__).with_name("app.py")
MAX_UPLOAD = 50  # megabytes a file


@dataclass(frozen=True)
class DemoConfig:
    """What the page offers, and to whom."""

    models: tuple[str, ...] = ()  # model files beside the bundled one, or folders of them
    detector: str | None = None  # local YuNet file
    threads: int | None = None  # of a runtime
    address: str = "127.0.0.1"
    port: int = 8501

    @property
    def private(self) -> bool:
        """Whether only this machine can open the page."""
        if self.address == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False

    @classmethod
    def from_environment(cls) -> Self:
        """Return what `serve` was given; the defaults where the page runs by itself."""
        values = json.loads(os.environ.get(VARIABLE, "{}"))
        return cls(**values | {"models": tuple(values.get("models", ()))})


def serve(config: DemoConfig, open_browser: bool = True) -> NoReturn:
    """Become Streamlit's server of the page, until it is interrupted.

    Raises ConfigError where the port is taken or the address is not one of this machine.
    """
    _check_free(config.address, config.port)
    options = {
        "server.address": config.address,
        "server.port": config.port,
        "server.headless": str(not open_browser).lower(),
        "server.maxUploadSize": MAX_UPLOAD,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "theme.light.primaryColor": "#1F6FAF",
        "theme.dark.primaryColor": "#4C9FDF",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    environment = {**os.environ, VARIABLE: json.dumps(asdict(config))}
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *arguments]
    # In the place of this process: a signal that ends it ends the server.
    os.execve(sys.executable, command, environment)


def _check_free(address: str, port: int) -> None:
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        raise ConfigError(
            f"{address}:{port} cannot be served: {error.strerror or error}; name another --port, "
            "or an --address of this machine"
        ) from error
