"""The server of the page. By default, only this machine can open the page."""

import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from halnet.errors import ConfigError

CONFIG_VARIABLE = "HALNET_DEMO"  # environment variable: the DemoConfig of the page as JSON
APP = Path(__file__).with_name("app.py")
MAX_UPLOAD = 50  # megabytes per file


@dataclass(frozen=True)
class DemoConfig:
    """Which models the page offers, and at which address it is served."""

    models: tuple[str, ...] = ()  # paths of model files, or of folders that contain model files
    detector: str | None = None  # path of a YuNet file; None: see `yunet_path`
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


def serve(config: DemoConfig, open_browser: bool = True) -> None:
    """Serve the page until this process gets SIGINT or SIGTERM. Must run in the main thread.

    Raises ConfigError if the port is in use or the address does not belong to this machine.
    """
    _check_address(config.address, config.port)
    options = {
        "server.address": config.address,
        "server.port": config.port,
        "server.headless": not open_browser,
        "server.maxUploadSize": MAX_UPLOAD,
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "logger.hideWelcomeMessage": True,  # Streamlit's advertises, and asks for an address
        "secrets.files": [],
        "theme.light.primaryColor": "#1F6FAF",
        "theme.dark.primaryColor": "#4C9FDF",
    }
    os.environ[CONFIG_VARIABLE] = json.dumps(asdict(config))
    with _home_and_folder(APP.parent):  # where no configuration of the user is found
        from streamlit.web import bootstrap

        bootstrap.load_config_options(options)
    host = f"[{config.address}]" if ":" in config.address else config.address
    print(f"The page is served at http://{host}:{config.port}; Ctrl-C ends it.", flush=True)
    # `streamlit run` does the same, but it asks for an e-mail address when it is used first.
    bootstrap.run(str(APP), False, [], options)


@contextmanager
def _home_and_folder(folder: Path) -> Iterator[None]:
    """Make a folder the user's home and the current one during the block.

    If the user has no home, the folder stays it, because Streamlit does not start without one.
    """
    home = os.path.expanduser("~")
    os.environ["HOME"] = str(folder)
    try:
        with chdir(folder):
            yield
    finally:
        if home != "~":
            os.environ["HOME"] = home


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
