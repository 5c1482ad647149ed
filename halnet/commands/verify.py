"""`halnet verify`."""

import json
from pathlib import Path

import click

from halnet.ages import LEVEL
from halnet.benchmarks.parity import VerifyConfig
from halnet.benchmarks.verification import Verification, verify
from halnet.commands.options import data_option, json_option, runtime_options, split_option
from halnet.commands.output import print_table, progress
from halnet.evaluation.parity import Comparison, Parity
from halnet.runtimes.base import RuntimeOptions


@click.command("verify")
@click.argument("artifacts", type=Path, nargs=-1, required=True)
@click.option(
    "--checkpoint",
    type=Path,
    help="Checkpoint from which the artifacts were exported. Default: the one that comes with "
    "halnet.",
)
@data_option(
    "MAE and interval coverage are compared on it. Default: only ages are compared, on crops of a "
    "portrait that comes with halnet."
)
@split_option
@runtime_options("runtime", "device", "threads")
@json_option()
def command(
    artifacts: tuple[Path, ...],
    checkpoint: Path | None,
    data: Path | None,
    split: str,
    options: RuntimeOptions,
    as_json: bool,
) -> int:
    """Compare ARTIFACTS with their checkpoint in PyTorch FP32 on the CPU.

    A folder that halnet export wrote stands for all artifacts that its manifest.json lists. Of
    these, an artifact is skipped if its runtime is missing on this machine.

    The figures are written into the manifest.json beside each artifact. The exit status is 1 if a
    figure lies outside the tolerance of the artifact's precision.
    """
    config = VerifyConfig(checkpoint, data, split, options.threads)
    with progress("crops", quiet=as_json) as on_progress:
        result = verify(artifacts, config, options.runtime, options.device, on_progress)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
    else:
        print_verification(result)
    result.record()  # after the figures are printed, so that a full disk does not lose them
    return 0 if result.passed else 1


def print_verification(result: Verification) -> None:
    """Print the table of each comparison and its verdict, and why others were skipped."""
    for path, parity in result.compared.items():
        _print_parity(path, parity)
    for path, reason in result.skipped.items():
        click.echo(f"{path}: not compared: {reason}")


def _print_parity(path: Path, parity: Parity) -> None:
    tolerance = parity.tolerance
    rows = [_row("all", parity.overall)]
    rows += [_row(name, part) for name, part in parity.by_decade.items()]
    if parity.overall.artifact is not None:
        bounds = [f"{tolerance.mae:g}", f"{tolerance.p99:g}", "", "", ""]
        rows.append(["allowed", "", "", "", *bounds, f"{tolerance.coverage:.1%}", ""])
    columns = [
        *("ages", "crops", "MAE of\ncheckpoint", "MAE of\nartifact", "change\nof MAE"),
        *("99th percentile\nof age shift", "largest\nage shift", "CS@5"),
        f"true ages inside\n{LEVEL:.0%} interval",
        f"change of true ages\ninside {LEVEL:.0%} interval",
        "mean interval\nwidth",
    ]
    print_table(
        columns,
        rows,
        f"{path}: {parity.precision} on {parity.runtime}, compared with PyTorch FP32 on "
        f"{parity.data}; in years",
    )
    click.echo("passed" if parity.passed else "FAILED: " + "; ".join(parity.failures))
    if parity.divergence:
        click.echo(f"first node whose output diverges from FP32: {parity.divergence}")


def _row(name: str, part: Comparison) -> list[str]:
    shifts = [f"{part.p99:.5f}", f"{part.maximum:.5f}"]
    if part.reference is None or part.artifact is None:
        return [name, str(part.count), "", "", "", *shifts, "", "", "", ""]
    return [
        name,
        str(part.count),
        f"{part.reference.mae:.4f}",
        f"{part.artifact.mae:.4f}",
        f"{part.delta_mae:+.5f}",
        *shifts,
        f"{part.artifact.cs5:.1%}",
        f"{part.artifact.coverage:.1%}",
        f"{part.delta_coverage:+.2%}",
        f"{part.artifact.width:.2f}",
    ]
