"""`halnet info`."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from halnet import __version__
from halnet.ages import AgeCalibration
from halnet.artifact import Metadata, TrainedSet, size_artifact
from halnet.commands.options import RUNTIMES, json_option
from halnet.commands.output import print_table
from halnet.packages import installed_version
from halnet.runtimes.backends import describe, survey

LIBRARIES = ("numpy", "opencv-python-headless")
NOT_STATED = "not stated"


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
    calibration = metadata.calibration
    values: dict[str, Any] = {
        "file": str(model),
        "bytes": size_artifact(model),
        "runtime": f"{spec.runtime} {spec.version}, {spec.provider}",
        "precision": metadata.precision,
        "batch": str(spec.batch_limits),
        "input": f"uint8 N x {metadata.input.size} x {metadata.input.size} x 3 "
        f"{metadata.input.colour}, fingerprint {metadata.input.fingerprint()}",
        "dataset": metadata.dataset,
        "split_sha256": metadata.split_sha256,
        "datasets": [asdict(trained) for trained in metadata.datasets],
        "licence": metadata.licence,
        "terms": metadata.terms,
        "checkpoint_sha256": metadata.checkpoint_sha256,
        "reference_mae": metadata.reference_mae,
        "temperature": calibration.temperature,
        "interval_levels": f"up to {len(calibration.quantiles)} %",
        "calibration": calibration.to_dict(),
        "minor_errors": metadata.minor_errors,
    }
    if as_json:
        click.echo(json.dumps(values))
        return
    for name in ("dataset", "split_sha256"):  # the list of datasets states both
        del values[name]
    values["datasets"] = "; ".join(map(_describe_dataset, metadata.datasets)) or NOT_STATED
    values["calibration"] = _describe_calibration(calibration)
    values["minor_errors"] = _describe_minors(metadata)
    for key, value in values.items():
        click.echo(f"{key:18} {value or NOT_STATED}")


def _describe_dataset(trained: TrainedSet) -> str:
    """Return the name of a dataset, the number of its training photos, and its split."""
    photos = [] if trained.photos is None else [f"{trained.photos:,} training photos"]
    split = [f"split {trained.split_sha256}"] if trained.split_sha256 else []
    return ", ".join([trained.name, *photos, *split])


def _describe_calibration(calibration: AgeCalibration) -> str:
    """Return the kind of a calibration and its numbers, without the quantiles of all levels."""
    numbers = {
        "quantile at 90 %": calibration.quantiles[89:90],
        "age factors": calibration.age_factors,
        "scale": calibration.scale,
    }
    parts = (
        f"{name}: {' '.join(f'{number:g}' for number in row)}"
        for name, row in numbers.items()
        if row
    )
    return "; ".join([calibration.kind, *parts])


def _describe_minors(metadata: Metadata) -> str:
    """Return how many errors of minors the model file contains, by age."""
    if not metadata.minor_errors:
        return NOT_STATED
    counts = " ".join(f"{age}:{len(row)}" for age, row in enumerate(metadata.minor_errors))
    total = sum(map(len, metadata.minor_errors))
    return f"{total} errors, number by true age: {counts}"
