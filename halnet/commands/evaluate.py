"""`halnet evaluate`."""

import json
from pathlib import Path

import click

from halnet.benchmarks.accuracy import EvaluateConfig, evaluate_model
from halnet.commands.output import needs, print_table, progress
from halnet.metrics import Evaluation, Score
from halnet.plots import check_figure, plot_errors


@click.command("evaluate")
@click.argument("model", type=Path, required=False)
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@click.option(
    "--photos",
    type=Path,
    help="The dataset's own folder: go from its raw photos, through detection.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="So many photos, spread evenly over the split."
)
@click.option("--runtime", default="auto", show_default=True, help="onnxruntime, pytorch or auto.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--detector", type=Path, help="Local YuNet file, with --photos.")
@click.option("--figure", type=Path, help="Write a picture of the errors (PNG, SVG or PDF).")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: Path | None,
    data: Path,
    split: str,
    photos: Path | None,
    limit: int | None,
    runtime: str,
    device: str,
    detector: Path | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Measure MODEL (default: the bundled one) on a split: MAE, CS@5, bias and coverage.

    By decade and by sex beside the whole, with a bootstrap 95 % interval of the MAE.
    """
    if figure is not None:
        with needs("train"):
            import matplotlib  # noqa: F401

        check_figure(figure)
    config = EvaluateConfig(data, model, split, photos, limit, runtime, device, detector)
    with progress("photos") as on_progress:
        report = evaluate_model(config, on_progress)
    if figure is not None:
        plot_errors(report.outputs, report.labels, report.spec.metadata.calibration, figure)
    if as_json:
        result = {
            "split": split,
            "split_sha256": report.split_sha256,
            "without_face": report.missed,
        }
        click.echo(json.dumps({**result, **report.evaluation.to_dict()}))
        return
    name = f"{Path(report.spec.model).name} on {report.spec.runtime}"
    show(report.evaluation, f"{name}, {report.dataset} {split}, split {report.split_sha256[:12]}")
    if report.missed:
        click.echo(f"{report.missed} photos without a detected face are not in these figures")


def show(evaluation: Evaluation, title: str) -> None:
    """Print the table of an evaluation."""
    low, high = evaluation.mae_interval
    rows = [_row("all", evaluation.overall)]
    rows += [_row(name, part) for name, part in evaluation.by_decade.items()]
    rows += [_row(name, part) for name, part in evaluation.by_sex.items()]
    print_table(
        ["", "photos", "MAE", "bias", "within 5 years", "90 % interval holds", "its width"],
        rows,
        title,
    )
    click.echo(f"MAE {evaluation.overall.mae:.3f} years, 95 % interval {low:.2f} to {high:.2f}")


def _row(name: str, score: Score) -> list[str]:
    return [
        name,
        str(score.count),
        f"{score.mae:.2f}",
        f"{score.bias:+.2f}",
        f"{score.cs5:.1%}",
        f"{score.coverage:.1%}",
        f"{score.width:.1f}",
    ]
