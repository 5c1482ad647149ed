"""`halnet info`."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from halnet import __version__
from halnet.ages import LEVEL, AgeCalibration
from halnet.artifact import WAYS, Metadata, TrainedSet, find_model, size_artifact
from halnet.commands.options import RUNTIMES, json_option
from halnet.commands.output import print_table
from halnet.cores import describe_threads, find_cores
from halnet.errors import ConfigError
from halnet.packages import installed_version
from halnet.runtimes.backends import describe, find_address, hide_password, survey
from halnet.runtimes.base import RuntimeSpec

LIBRARIES = {"numpy": "numpy", "opencv": "cv2"}  # module of each library
NOT_STATED = "not stated"
MINORS_A_LINE = 6  # ages in one line

Lines = dict[str, Sequence[str]]  # the lines of text of each value, by its name


@click.command("info")
@click.argument("model", type=Path, required=False)
@json_option()
def command(model: Path | None, as_json: bool) -> None:
    """Show which runtimes are installed or, with MODEL, what a model file states."""
    if model is None:
        _show_installation(as_json)
    elif address := find_address(model):
        raise ConfigError(
            f"{hide_password(address)}: expected a model file, found the address of a server; "
            "halnet serve states its model at ADDRESS/info"
        )
    else:
        _show_model(find_model(model), as_json)


def _show_installation(as_json: bool) -> None:
    runtimes = survey()
    libraries = {name: installed_version(module) for name, module in LIBRARIES.items()}
    if as_json:
        values = {
            "halnet": __version__,
            "python": platform.python_version(),
            "libraries": libraries,
            "cores": asdict(find_cores()),
            "runtimes": [asdict(runtime) for runtime in runtimes],
        }
        click.echo(json.dumps(values))
        return
    versions = ", ".join(f"{name} {number}" for name, number in libraries.items())
    click.echo(f"halnet {__version__}, Python {platform.python_version()}, {versions}")
    click.echo(f"Threads of an inference on the CPU: {describe_threads()}")
    rows = [
        [r.runtime, r.version or "-", ", ".join(r.devices), r.problem]
        for r in runtimes
        if r.runtime in RUNTIMES
    ]
    print_table(["runtime", "version", "devices", "what is missing"], rows)


def _show_model(model: Path, as_json: bool) -> None:
    spec = describe(model)
    if as_json:
        click.echo(json.dumps(spec.to_dict()))
        return
    values = _describe_model(model, spec)
    width = max(map(len, values)) + 2
    for name, lines in values.items():
        for i, line in enumerate(lines or [NOT_STATED]):
            click.echo(f"{'' if i else name:{width}}{line}")


def _describe_model(model: Path, spec: RuntimeSpec) -> Lines:
    """Return what a model file states, in words."""
    metadata = spec.metadata
    size = size_artifact(model)
    return {
        "file": [str(model)],
        "size": [f"{size / 1e6:.1f} MB ({size:,} bytes)"],
        "runtime": [spec.software],
        "precision": [_describe_precision(metadata)],
        "batch size": [str(spec.batch_limits)],
        "input": [metadata.input.describe()],
        "input fingerprint": [metadata.input.fingerprint()],
        "way to the crops": [f"version {metadata.input.way}: {WAYS[metadata.input.way]}"],
        "checkpoint": [f"SHA-256 {metadata.checkpoint_sha256}"] * bool(metadata.checkpoint_sha256),
        "licence": [metadata.licence] * bool(metadata.licence),
        "terms": [term for term in metadata.terms.split("; ") if term],
        "datasets": _describe_datasets(metadata.datasets),
        "mean absolute error": [
            f"{mae:.3f} years in the split {split}" for split, mae in metadata.reference_mae.items()
        ],
        **_describe_calibration(metadata.calibration),
        "errors of minors": _describe_minors(metadata),
    }


def _describe_precision(metadata: Metadata) -> str:
    bits = metadata.weight_bits
    return metadata.precision + (f", weights of {bits} bits" if bits else "")


def _describe_datasets(datasets: Sequence[TrainedSet]) -> list[str]:
    """Return a line for each dataset: its name, the number of its training photos, its split."""
    counts = ["" if d.photos is None else f"{d.photos:,} training photos" for d in datasets]
    columns = [[d.name for d in datasets], counts]
    widths = [max(map(len, column), default=0) for column in columns]
    return [
        "  ".join(
            [
                f"{data.name:{widths[0]}}",
                *([f"{count:>{widths[1]}}"] if widths[1] else []),
                *([f"split SHA-256 {data.split_sha256}"] if data.split_sha256 else []),
            ]
        ).rstrip()
        for data, count in zip(datasets, counts, strict=True)
    ]


def _describe_calibration(calibration: AgeCalibration) -> Lines:
    """Return the kind of a calibration and its numbers, without the quantiles of all levels."""
    quantiles = calibration.quantiles
    lines: Lines = {
        "calibration": [calibration.kind],
        "temperature": [f"{calibration.temperature:g}"],
        "interval levels": [f"up to {len(quantiles)} %"],
    }
    numbers = {
        f"quantile at {LEVEL * 100:g} %": quantiles[round(LEVEL * 100) - 1 :][:1],
        "age factors": calibration.age_factors,
        "scale factors": calibration.scale,
    }
    return lines | {
        name: [", ".join(f"{number:.4g}" for number in row)] for name, row in numbers.items() if row
    }


def _describe_minors(metadata: Metadata) -> list[str]:
    """Return how many errors of minors the model file contains, by age."""
    counts = [len(row) for row in metadata.minor_errors]
    if not counts:
        return []
    cells = [f"{age:2}: {count:<{len(str(max(counts)))}}" for age, count in enumerate(counts)]
    rows = ["   ".join(cells[i : i + MINORS_A_LINE]) for i in range(0, len(cells), MINORS_A_LINE)]
    return [f"{sum(counts):,} photos; number by true age:", *(row.rstrip() for row in rows)]
