"""`halnet verify`."""

import json
from pathlib import Path

import click

from halnet.benchmarks.parity import Parity, VerifyConfig, verify
from halnet.commands.output import print_table, progress
from halnet.manifest import record_parity


@click.command("verify")
@click.argument("artifact", type=Path)
@click.option("--checkpoint", type=Path, help="That it was made from; default: the bundled one.")
@click.option(
    "--data",
    type=Path,
    help="Prepared dataset, for MAE and coverage; default: crops of the bundled portrait.",
)
@click.option("--split", default="test", show_default=True, help="Of the dataset.")
@click.option("--runtime", default="auto", show_default=True, help="That runs the artifact.")
@click.option("--device", default="auto", show_default=True, help="That it runs on.")
@click.option("--threads", type=click.IntRange(1), help="Of each runtime.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    artifact: Path,
    checkpoint: Path | None,
    data: Path | None,
    split: str,
    runtime: str,
    device: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Compare ARTIFACT with its checkpoint in PyTorch FP32 on the CPU.

    Exit status 1 if a figure lies outside the tolerance of the artifact's precision. The figures
    are noted in the manifest.json beside the artifact.
    """
    config = VerifyConfig(artifact, checkpoint, data, split, runtime, device, threads)
    with progress("crops") as on_progress:
        parity = verify(config, on_progress)
    if as_json:
        click.echo(json.dumps(parity.to_dict()))
    else:
        show(parity)
    manifest = record_parity(artifact, parity.data, parity.to_dict())
    if manifest and not as_json:
        click.echo(f"noted in {manifest}")
    return 0 if parity.passed else 1


def show(parity: Parity) -> None:
    """Print the table of a comparison and its verdict."""
    rows = [
        ["p99 of abs(delta age), years", "", "", f"{parity.p99:.5f}", f"{parity.tolerance.p99:g}"],
        ["max of abs(delta age), years", "", "", f"{parity.maximum:.5f}", ""],
    ]
    if parity.mae is not None and parity.reference_mae is not None:
        rows.insert(
            0,
            [
                "MAE, years",
                f"{parity.reference_mae:.4f}",
                f"{parity.mae:.4f}",
                f"{parity.mae - parity.reference_mae:+.5f}",
                f"{parity.tolerance.mae:g}",
            ],
        )
    if parity.coverage is not None and parity.reference_coverage is not None:
        rows.append(
            [
                "coverage of the 90 % interval",
                f"{parity.reference_coverage:.4f}",
                f"{parity.coverage:.4f}",
                f"{parity.coverage - parity.reference_coverage:+.5f}",
                f"{parity.tolerance.coverage:g}",
            ]
        )
    title = f"{parity.precision} against PyTorch fp32, {parity.count} crops: {parity.data}"
    print_table(["", "PyTorch", "artifact", "delta", "allowed"], rows, title)
    click.echo("passed" if parity.passed else "FAILED: " + "; ".join(parity.failures))
