"""`halnet demo`."""

from pathlib import Path

import click

from halnet.commands.options import detector_option, threads_option
from halnet.demo.server import DemoConfig, serve
from halnet.errors import ConfigError
from halnet.faces.yunet_file import yunet_path
from halnet.packages import is_installed, needs


@click.command("demo")
@click.argument("models", type=Path, nargs=-1)
@click.option(
    "--address",
    default=DemoConfig.address,
    show_default=True,
    help="Address of this machine on which the page is served.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DemoConfig.port,
    show_default=True,
    help="Port on which the page is served.",
)
@detector_option()
@threads_option()
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def command(
    models: tuple[Path, ...],
    address: str,
    port: int,
    detector: Path | None,
    threads: int | None,
    no_browser: bool,
) -> None:
    """Serve a page that shows the ages in a photo, in many photos and in live video.

    The page offers the model that comes with halnet, and MODELS: files or folders that halnet
    export wrote. It runs them on every installed runtime and compares the runtimes. Nothing leaves
    this machine: without --address, only this machine can open the page, and uploaded photos are
    kept in memory.
    """
    with needs("halnet demo", "demo"):
        for library in ("streamlit", "streamlit_webrtc"):  # the server imports them
            if not is_installed(library):
                raise ModuleNotFoundError(name=library)
    for model in models:
        if not model.exists():
            raise ConfigError(f"{model}: no such model file or folder; make one with halnet export")
    config = DemoConfig(
        tuple(str(model.absolute()) for model in models),
        None if detector is None else str(yunet_path(detector).absolute()),
        threads,
        address,
        port,
    )
    serve(config, open_browser=not no_browser)
