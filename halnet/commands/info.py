"""`halnet info`."""

import json
import platform
from dataclasses import asdict
from pathlib import Path

import click

from halnet import __version__
from halnet.artifact import size_artifact
from halnet.commands.output import print_table
from halnet.packages import installed_version
from halnet.runtimes.backends import describe, survey


@click.command("info")
@click.argument("model", type=Path, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(model: Path | None, as_json: bool) -> None:
    """Show what is installed; with MODEL, what that file says of itself."""
    if model is not None:
        _show_model(model, as_json)
        return
    runtimes = survey()
    libraries = {name: installed_version(name) for name in ("numpy", "opencv-python-headless")}
    if as_json:
        entries = [asdict(entry) for entry in runtimes]
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
    rows = [[r.runtime, r.version or "-", ", ".join(r.devices), r.problem] for r in runtimes]
    print_table(["runtime", "version", "runs on", "what is missing"], rows)


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
