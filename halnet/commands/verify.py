"""`halnet verify`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from halnet.ages import LEVEL
from halnet.artifact import CHECKPOINTS
from halnet.benchmarks.golden_check import GoldenCheck, check_golden
from halnet.benchmarks.parity import VerifyConfig
from halnet.benchmarks.verification import Verification, verify
from halnet.commands.options import join_names, json_option, runtime_options, split_option
from halnet.commands.output import print_table, progress
from halnet.errors import ConfigError
from halnet.evaluation.parity import Comparison, Parity
from halnet.evaluation.scores import Score
from halnet.runtimes.base import RuntimeOptions


@click.command("verify")
@click.argument("artifacts", type=Path, nargs=-1, required=True)
@click.option(
    "--checkpoint",
    type=Path,
    help="Checkpoint from which the artifacts were exported: a path, or the name of one that comes "
    f"with halnet ({join_names(CHECKPOINTS)}). Default: {CHECKPOINTS[0]}.",
)
@click.option(
    "--data",
    type=Path,
    multiple=True,
    help="Folder of a prepared dataset, which halnet prepare wrote. MAE and interval coverage are "
    "compared on it. Name several datasets by repeating the option. Default: only ages are "
    "compared, on crops of a portrait that comes with halnet.",
)
@split_option
@click.option(
    "--golden",
    type=Path,
    metavar="DIR",
    help="Folder of golden vectors, which halnet export --golden wrote. The artifacts are compared "
    "with their ages in place of the checkpoint, which needs no PyTorch.",
)
@runtime_options("runtime", "device", "threads")
@json_option()
def command(
    artifacts: tuple[Path, ...],
    checkpoint: Path | None,
    data: tuple[Path, ...],
    split: str,
    golden: Path | None,
    options: RuntimeOptions,
    as_json: bool,
) -> int:
    """Compare ARTIFACTS with their checkpoint in PyTorch FP32 on the CPU.

    A folder that halnet export wrote stands for all artifacts that its manifest.json lists. Of
    these, an artifact is skipped if its runtime is missing on this machine.

    With several datasets, the errors and the ages of each dataset are compared, and the interval
    coverage of all of them together. Of a dataset that the checkpoint was not trained on, all
    photos are used. For labels that are ranges of ages, the distance to the range is compared in
    place of the MAE.

    The figures are written into the manifest.json beside each artifact, if it can be written. The
    exit status is 1 if a figure lies outside the tolerance of the artifact's precision, or if one
    of several artifacts is missing or damaged.
    """
    if golden is not None:
        if checkpoint or data:
            raise ConfigError(
                "--golden takes the place of the checkpoint and of its photos; leave out "
                "--checkpoint and --data, or --golden"
            )
        check = check_golden(artifacts, golden, options)
        if as_json:
            click.echo(json.dumps(check.to_dict()))
        else:
            _print_golden(check)
        return 1 if check.failed else 0
    config = VerifyConfig(checkpoint, data, split, options.threads)
    with progress("crops", quiet=as_json) as on_progress:
        result = verify(artifacts, config, options.runtime, options.device, on_progress)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
    else:
        print_verification(result)
    for problem in result.record():  # after the figures are printed
        click.echo(f"halnet: {problem}", err=True)
    return 0 if result.passed else 1


def _print_golden(check: GoldenCheck) -> None:
    for path, runtime in check.passed.items():
        click.echo(f"{path}: gives the golden ages of {check.golden} ({runtime})")
    for path, reason in check.skipped.items():
        click.echo(f"{path}: not compared: {reason}")
    for path, reason in check.failed.items():
        click.echo(f"{path}: FAILED: {reason}")


def print_verification(result: Verification) -> None:
    """Print the table of each comparison and its verdict, and why others were skipped."""
    for path, parity in result.compared.items():
        _print_parity(path, parity)
    for path, reason in result.skipped.items():
        click.echo(f"{path}: not compared: {reason}")
    for path, reason in result.failed.items():
        click.echo(f"{path}: FAILED: {reason}")
    for note in result.notes:
        click.echo(note)
    for licence in dict.fromkeys(parity.licence for parity in result.compared.values()):
        if licence:
            click.echo(f"Licence of the weights: {licence}")


def _print_parity(path: Path, parity: Parity) -> None:
    tolerance = parity.tolerance
    is_mixed = parity.count > parity.overall.count
    rows = [_row("exact ages" if is_mixed else "all", parity.overall)]
    rows += [_row(name, part) for name, part in parity.by_set.items()]
    rows += [_row(name, part) for name, part in parity.by_decade.items()]
    if parity.overall.artifact is not None:
        bounds = [f"{tolerance.mae:g}", f"{tolerance.p99:g}", "", "", ""]
        rows.append(["allowed", "", "", "", *bounds, f"{tolerance.coverage:.1%}", ""])
    error = name_errors([parity])
    columns = [
        *("photos", "crops", f"{error} of\ncheckpoint", f"{error} of\nartifact"),
        f"change\nof {error}",
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
    if parity.by_set:
        click.echo(
            f"change of interval coverage over all datasets: {parity.delta_coverage:+.2%} "
            f"({parity.count} crops)"
        )
    click.echo("passed" if parity.passed else "FAILED: " + "; ".join(parity.failures))
    if parity.divergence:
        click.echo(f"first node whose output diverges from FP32: {parity.divergence}")


def name_errors(results: Sequence[Parity]) -> str:
    """Return what the errors in a table of these results are: MAE, distance (to ranges) or both."""
    parts = (part for parity in results for part in (parity.overall, *parity.by_set.values()))
    return " or ".join(sorted({part.error_name for part in parts})) or "MAE"


def _row(name: str, part: Comparison) -> list[str]:
    shifts = [f"{part.p99:.5f}", f"{part.maximum:.5f}"]
    if part.reference is None or part.artifact is None:
        return [name, str(part.count), "", "", "", *shifts, "", "", "", ""]
    return [
        name,
        str(part.count),
        f"{part.reference.error:.4f}",
        f"{part.artifact.error:.4f}",
        f"{part.delta_mae:+.5f}",
        *shifts,
        f"{part.artifact.cs5:.1%}" if isinstance(part.artifact, Score) else "",
        f"{part.artifact.coverage:.1%}",
        f"{part.delta_coverage:+.2%}",
        f"{part.artifact.width:.2f}",
    ]
