"""`halnet info`."""

import json
import platform
from dataclasses import asdict
from pathlib import Path

import click

from halnet import __version__
from halnet.artifact import size_artifact
from halnet.commands.options import RUNTIMES, json_option
from halnet.commands.output import print_table
from halnet.packages import installed_version
from halnet.runtimes.backends import describe, survey

LIBRARIES = ("numpy", "opencv-python-headless")


@click.command("info")
@click.argument("model", type=Path, required=False)
@json_option()
def command(model: Path | None, as_json: bool) -> None:
    """Show which runtimes are installed or, with MODEL, what a model file states."""
    if model is None:
        _show_installation(as_json)
    else:
        _show_model(model, as_json)


def _show_installation(as_json: bool) -> None:
    runtimes = survey()
    libraries = {name: installed_version(name) for name in LIBRARIES}
    if as_json:
        values = {
            "halnet": __version__,
            "python": platform.python_version(),
            "libraries": libraries,
            "runtimes": [asdict(runtime) for runtime in runtimes],
        }
        click.echo(json.dumps(values))
        return
    versions = ", ".join(f"{name} {number}" for name, number in libraries.items())
    click.echo(f"halnet {__version__}, Python {platform.python_version()}, {versions}")
    rows = [
        [r.runtime, r.version or "-", ", ".join(r.devices), r.problem]
        for r in runtimes
        if r.runtime in RUNTIMES
    ]
    print_table(["runtime", "version", "devices", "what is missing"], rows)


def _show_model(model: Path, as_json: bool) -> None:
    spec = describe(model)
    metadata = spec.metadata
    values = {
        "file": str(model),
        "bytes": size_artifact(model),
        "runtime": f"{spec.runtime} {spec.version}, {spec.provider}",
        "precision": metadata.precision,
        "batch": str(spec.batch_limits),
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
