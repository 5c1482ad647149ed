"""The server of the page. By default, only this machine can open the page."""

import ipaddress
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Self

from halnet.errors import ConfigError

CONFIG_VARIABLE = "HALNET_DEMO"  # environment variable: the DemoConfig of the page as JSON
APP = Path(__file__).with_name("app.py")
MAX_UPLOAD = 50  # megabytes per file


@dataclass(frozen=True)
class DemoConfig:
    """Which models the page offers, and at which address it is served."""

    models: tuple[str, ...] = ()  # paths of model files, or of folders that contain model files
    detector: str | None = None  # path of a YuNet file; None: see `halnet.faces.yunet_path`
    threads: int | None = None  # threads of one inference on a CPU; None: one for each core
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
        """Return the configuration that `serve` passes to the page.

        If the page runs without `serve`, the configuration has its default values.
        """
        values = json.loads(os.environ.get(CONFIG_VARIABLE, "{}"))
        return cls(**values | {"models": tuple(values.get("models", ()))})


def serve(config: DemoConfig, open_browser: bool = True) -> NoReturn:
    """Replace this process with a Streamlit server, which serves the page until it is interrupted.

    Raises ConfigError if the port is in use or the address does not belong to this machine.
    """
    _check_address(config.address, config.port)
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
    environment = {**os.environ, CONFIG_VARIABLE: json.dumps(asdict(config))}
    command = [sys.executable, "-m", "streamlit", "run", str(APP), *arguments]
    # The server takes the place of this process, so that a signal to this process ends the server.
    os.execve(sys.executable, command, environment)


def _check_address(address: str, port: int) -> None:
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        raise ConfigError(
            f"{address}:{port}: the page cannot be served here ({error.strerror or error}); "
            "choose another --port, or an --address that belongs to this machine"
        ) from error
