"""`halnet info`."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from halnet import __version__
from halnet.commands.output import print_table
from halnet.runtimes import open_runtime, survey


@click.command("info")
@click.argument("model", type=Path, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(model: Path | None, as_json: bool) -> None:
    """Show what is installed; with MODEL, what that file says of itself."""
    if model is not None:
        _show_model(model, as_json)
        return
    runtimes = survey()
    libraries = {name: _version(name) for name in ("numpy", "opencv-python-headless")}
    if as_json:
        entries = [{"runtime": r.runtime, "version": r.version, "cure": r.cure} for r in runtimes]
        click.echo(
            json.dumps(
                {
                    "halnet": __version__,
                    "python": platform.python_version(),
                    "libraries": libraries,
                    "runtimes": entries,
                }
            )
        )
        return
    parts = ", ".join(f"{name} {number}" for name, number in libraries.items())
    click.echo(f"halnet {__version__}, Python {platform.python_version()}, {parts}")
    rows = [[r.runtime, r.version or "-", "" if r.version else r.cure] for r in runtimes]
    print_table(["runtime", "version", "to install it"], rows)


def _show_model(model: Path, as_json: bool) -> None:
    with open_runtime(model) as runtime:
        spec = runtime.spec
    metadata = spec.metadata
    values = {
        "file": str(model),
        "bytes": model.stat().st_size,
        "runtime": f"{spec.runtime} {spec.version}, {spec.provider}",
        "precision": metadata.precision,
        "input": f"uint8 N x {metadata.input.size} x {metadata.input.size} x 3 "
        f"{metadata.input.colour}, fingerprint {metadata.input.fingerprint()}",
        "dataset": metadata.dataset,
        "split_sha256": metadata.split_sha256,
        "checkpoint_sha256": metadata.checkpoint_sha256,
        "reference_mae": metadata.reference_mae,
        "temperature": metadata.calibration.temperature,
        "interval_levels": f"up to {len(metadata.calibration.quantiles)} %",
    }
    if as_json:
        click.echo(json.dumps(values))
        return
    for key, value in values.items():
        click.echo(f"{key:18} {value}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
