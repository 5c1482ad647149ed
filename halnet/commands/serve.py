"""`halnet serve`."""

import os
from pathlib import Path

import click

from halnet.commands.face_options import min_face_option
from halnet.commands.options import FiniteRange, detector_option, runtime_options
from halnet.errors import ConfigError
from halnet.packages import needs
from halnet.runtimes.base import RuntimeOptions
from halnet.runtimes.remote import KEY_VARIABLE
from halnet.serving.config import Limits, ServeConfig


@click.command("serve")
@click.argument("model", type=Path, required=False)
@runtime_options("runtime", "device", "threads")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Number of photos that are processed at the same time. Default: one for each core, with "
    "one thread each, or fewer if --threads is given.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    help="Most crops of several requests in one inference. Crops that come during an inference are "
    "joined for the next one. Default: 1 on a CPU, where it saves no time, and 32 elsewhere.",
)
@detector_option()
@min_face_option
@click.option(
    "--host",
    default=ServeConfig.host,
    show_default=True,
    help="Address of this machine at which the server listens; 0.0.0.0 stands for all of them.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=ServeConfig.port,
    show_default=True,
    help="Port at which the server listens; 0 stands for any free one.",
)
@click.option(
    "--api-key",
    envvar=KEY_VARIABLE,
    help=f"Key that clients must send. Others on this machine can read it in the list of "
    f"processes, unless it is given in the environment variable {KEY_VARIABLE} or by "
    "--api-key-file. Default: everybody may ask.",
)
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the key that clients must send.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    default=Limits.bytes,
    show_default=True,
    help="Most bytes of a request.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1, Limits.pixels),
    default=Limits.pixels,
    show_default=True,
    help="Most pixels of a photo, width times height.",
)
@click.option(
    "--max-photos",
    type=click.IntRange(1),
    default=Limits.photos,
    show_default=True,
    help="Most photos in one request.",
)
@click.option(
    "--max-faces",
    type=click.IntRange(1),
    default=Limits.faces,
    show_default=True,
    help="Most faces in one photo.",
)
@click.option(
    "--seconds",
    type=FiniteRange(0, min_open=True),
    default=Limits.seconds,
    show_default=True,
    help="Longest time from the beginning of a request to its answer.",
)
@click.option(
    "--max-requests",
    type=click.IntRange(1),
    default=Limits.requests,
    show_default=True,
    help="Most requests that are read, wait or are processed at the same time. Others are refused "
    "with the status 429.",
)
def command(
    model: Path | None,
    options: RuntimeOptions,
    workers: int | None,
    batch: int | None,
    detector: Path | None,
    min_face: float,
    host: str,
    port: int,
    api_key: str | None,
    api_key_file: Path | None,
    max_bytes: int,
    max_pixels: int,
    max_photos: int,
    max_faces: int,
    seconds: float,
    max_requests: int,
) -> None:
    """Answer requests by HTTP: photos in, faces with their ages out.

    MODEL is a model file; without it, the model that comes with halnet is served. The address
    /predict takes photos, /check does the check of one person, and /docs is a page that describes
    them and all others. Below /v2, the server speaks the Open Inference Protocol for crops, as
    Triton does. Photos are kept in memory only, and are neither written nor logged. Without --host,
    only this machine can reach the server. SIGTERM and Ctrl-C end it, after the requests that have
    come are answered.
    """
    config = ServeConfig(
        model=model,
        options=options,
        workers=workers,
        batch=batch,
        detector=detector,
        min_face=min_face,
        host=host,
        port=port,
        api_key=_read_key(api_key, api_key_file),
        limits=Limits(max_bytes, max_pixels, max_photos, max_faces, seconds, max_requests),
    )
    if not config.private and config.api_key is None:
        click.echo(
            f"halnet: everybody who reaches {host} may send requests; --api-key-file asks for a "
            "key, and a server before this one, such as nginx, encrypts",
            err=True,
        )
    with needs("halnet serve", "serve"):
        from halnet.serving.server import serve
    serve(config)


def _read_key(key: str | None, file: Path | None) -> str | None:
    """Return the API key; ConfigError if it is given in two ways, or in one that has none."""
    if file is None:
        if key is None and KEY_VARIABLE in os.environ:
            raise ConfigError(
                f"{KEY_VARIABLE}: expected an API key, found an empty variable; unset it to let "
                "everybody ask"
            )
        return key
    if key is not None:
        raise ConfigError(
            f"API key: expected one of --api-key, {KEY_VARIABLE} and --api-key-file, found several"
        )
    text = file.read_text(encoding="utf-8-sig", errors="replace").strip()
    if not text:
        raise ConfigError(
            f"{file}: expected an API key, found an empty file; write the key into it"
        )
    return text
