"""`halnet verify`."""

import json
from pathlib import Path

import click

from halnet.benchmarks.parity import Verifier, VerifyConfig
from halnet.commands.output import print_table, progress
from halnet.errors import RuntimeUnavailableError
from halnet.evaluation.parity import Comparison, Parity
from halnet.export.manifest import MANIFEST_FILE, list_artifacts, record_parity


@click.command("verify")
@click.argument("artifacts", type=Path, nargs=-1, required=True)
@click.option("--checkpoint", type=Path, help="That they were made from; default: the bundled one.")
@click.option(
    "--data",
    type=Path,
    help="Prepared dataset, for MAE and coverage; default: crops of the bundled portrait.",
)
@click.option("--split", default="test", show_default=True, help="Of the dataset.")
@click.option("--runtime", default="auto", show_default=True, help="That runs the artifacts.")
@click.option("--device", default="auto", show_default=True, help="That they run on.")
@click.option("--threads", type=click.IntRange(1), help="Of each runtime.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    artifacts: tuple[Path, ...],
    checkpoint: Path | None,
    data: Path | None,
    split: str,
    runtime: str,
    device: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Compare ARTIFACTS with their checkpoint in PyTorch FP32 on the CPU.

    A folder of halnet export stands for all that its manifest.json lists; of these, one whose
    runtime is missing here is named and left out. Exit status 1 if a figure lies outside the
    tolerance of the artifact's precision. The figures are noted in the manifest.json beside the
    artifact.
    """
    found: dict[Path, Parity] = {}
    left_out: dict[Path, str] = {}
    with progress("crops", quiet=as_json) as on_progress:
        verifier = Verifier(VerifyConfig(checkpoint, data, split, threads), on_progress)
        for path, of_folder in _expand(artifacts):
            try:
                parity = verifier(path, runtime, device)
            except RuntimeUnavailableError as error:
                if not of_folder:
                    raise
                left_out[path] = str(error)
                continue
            found[path] = parity
    if not found:
        raise RuntimeUnavailableError("; ".join(left_out.values()))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "artifacts": {str(path): parity.to_dict() for path, parity in found.items()},
                    "left_out": {str(path): why for path, why in left_out.items()},
                }
            )
        )
    else:
        for path, parity in found.items():
            show(path, parity)
        for path, why in left_out.items():
            click.echo(f"{path}: not compared: {why}")
    for path, parity in found.items():
        record_parity(path, parity.data, parity.to_dict())
    return 0 if all(parity.passed for parity in found.values()) else 1


def _expand(artifacts: tuple[Path, ...]) -> list[tuple[Path, bool]]:
    """Return each artifact, and whether it was named by its folder."""
    paths: list[tuple[Path, bool]] = []
    for path in artifacts:
        if (path / MANIFEST_FILE).exists():
            paths += [(artifact, True) for artifact in list_artifacts(path)]
        else:
            paths.append((path, False))
    return paths


def show(path: Path, parity: Parity) -> None:
    """Print the table of a comparison and its verdict."""
    allowed = parity.tolerance
    rows = [_row("all", parity.overall), *(_row(*item) for item in parity.by_decade.items())]
    if parity.overall.artifact is not None:
        bounds = [f"{allowed.mae:g}", f"{allowed.p99:g}", "", "", "", f"{allowed.coverage:.1%}"]
        rows.append(["allowed", "", "", "", *bounds, ""])
    title = f"{path}: {parity.precision} on {parity.runtime}, against PyTorch fp32; {parity.data}"
    columns = ["ages", "crops", "MAE", "artifact", "delta", "p99", "max"]
    columns += ["CS@5", "coverage", "delta", "width"]
    print_table(columns, rows, title)
    click.echo("passed" if parity.passed else "FAILED: " + "; ".join(parity.failures))
    if parity.divergence:
        click.echo(f"first node that leaves FP32: {parity.divergence}")


def _row(name: str, part: Comparison) -> list[str]:
    ends = [f"{part.p99:.5f}", f"{part.maximum:.5f}"]
    if part.reference is None or part.artifact is None:
        return [name, str(part.count), "", "", "", *ends, "", "", "", ""]
    return [
        name,
        str(part.count),
        f"{part.reference.mae:.4f}",
        f"{part.artifact.mae:.4f}",
        f"{part.delta_mae:+.5f}",
        *ends,
        f"{part.artifact.cs5:.1%}",
        f"{part.artifact.coverage:.1%}",
        f"{part.delta_coverage:+.2%}",
        f"{part.artifact.width:.2f}",
    ]
