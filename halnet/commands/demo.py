"""`halnet demo`."""

from importlib.util import find_spec
from pathlib import Path

import click

from halnet.commands.output import needs
from halnet.demo.server import DemoConfig, serve
from halnet.errors import ConfigError
from halnet.faces import yunet_path


@click.command("demo")
@click.argument("models", type=Path, nargs=-1)
@click.option("--address", default=DemoConfig.address, show_default=True, help="To serve on.")
@click.option("--port", type=click.IntRange(1, 65535), default=DemoConfig.port, show_default=True)
@click.option("--detector", type=Path, help="Local YuNet file; else it is fetched once.")
@click.option("--threads", type=click.IntRange(1), help="Of a runtime; default: all cores.")
@click.option("--no-browser", is_flag=True, help="Do not open a browser.")
def command(
    models: tuple[Path, ...],
    address: str,
    port: int,
    detector: Path | None,
    threads: int | None,
    no_browser: bool,
) -> None:
    """Serve a page that shows ages: of one photo, of many, of live video, and runtimes compared.

    The bundled model and MODELS, files or folders that halnet export wrote, on every runtime
    installed. Nothing leaves the machine: the page is served to it alone unless --address says
    otherwise, and what is uploaded is kept in memory.
    """
    with needs("demo"):
        for library in ("streamlit", "streamlit_webrtc"):  # loaded by the server, not here
            if find_spec(library) is None:
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
