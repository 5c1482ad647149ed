"""`halnet evaluate`."""

import json
from pathlib import Path

import click

from halnet.ages import LEGAL_AGE
from halnet.commands.output import needs, print_table, progress
from halnet.evaluation.accuracy import EvaluateConfig, evaluate_model
from halnet.evaluation.figures import DARK, LIGHT, check_figure
from halnet.evaluation.metrics import Evaluation, Score
from halnet.evaluation.plots import plot_evaluation
from halnet.runtimes.base import RuntimeOptions


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
    "--limit",
    type=click.IntRange(0),
    default=0,
    help="So many photos, spread evenly over the split; default: all.",
)
@click.option("--flip", is_flag=True, help="Average each crop with its mirror, at twice the cost.")
@click.option("--runtime", default="auto", show_default=True, help="onnxruntime, pytorch or auto.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--detector", type=Path, help="Local YuNet file, with --photos.")
@click.option("--figure", type=Path, help="Write a picture of the errors (PNG, SVG or PDF).")
@click.option("--dark", is_flag=True, help="The picture on dark paper.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: Path | None,
    data: Path,
    split: str,
    photos: Path | None,
    limit: int,
    flip: bool,
    runtime: str,
    device: str,
    detector: Path | None,
    figure: Path | None,
    dark: bool,
    as_json: bool,
) -> None:
    """Measure MODEL (default: the bundled one) on a split: error, coverage and age checks.

    MAE with a bootstrap 95 % interval, CS@3 and CS@5, bias, coverage and width of the 90 %
    interval, over all, by decade and by sex. For a check of 18 years: with a challenge age of 21 to
    30, the share of minors let through and of adults stopped (as NIST FATE AEV counts), and how
    often "18 or older" is true when it is said with some probability.
    """
    if figure is not None:
        with needs("train"):
            import matplotlib  # noqa: F401

        check_figure(figure)
    options = RuntimeOptions(runtime, device)
    config = EvaluateConfig(data, model, split, photos, limit, flip, options, detector)
    with progress("photos") as on_progress:
        report = evaluate_model(config, on_progress)
    if figure is not None:
        plot_evaluation(report.predictions, figure, DARK if dark else LIGHT)
    if as_json:
        result = {
            "split": split,
            "split_sha256": report.split_sha256,
            "without_face": report.missed,
            "flip": flip,
        }
        click.echo(json.dumps({**result, **report.evaluation.to_dict()}))
        return
    name = f"{Path(report.spec.model).name} on {report.spec.runtime}"
    averaged = ", flip averaging" if flip else ""
    place = f"{report.dataset} {split}, split {report.split_sha256[:12]}"
    show(report.evaluation, f"{name}{averaged}, {place}")
    if report.missed:
        click.echo(f"{report.missed} photos without a detected face are not in these figures")


def show(evaluation: Evaluation, title: str) -> None:
    """Print the tables of an evaluation."""
    low, high = evaluation.mae_interval
    rows = [_row("all", evaluation.overall)]
    rows += [_row(name, part) for name, part in evaluation.by_decade.items()]
    rows += [_row(name, part) for name, part in evaluation.by_sex.items()]
    columns = ["", "photos", "MAE", "bias", "CS@3", "CS@5", "90 % interval holds", "its width"]
    print_table(columns, rows, title)
    click.echo(f"MAE {evaluation.overall.mae:.3f} years, 95 % interval {low:.2f} to {high:.2f}\n")
    first = evaluation.challenges[0]
    print_table(
        ["challenge age", "minors let through", "adults stopped"],
        [
            [str(c.age), f"{c.minors_passed:.1%}", f"{c.adults_stopped:.1%}"]
            for c in evaluation.challenges
        ],
        f"Age check of {LEGAL_AGE} years: {first.minors} minors, {first.adults} adults",
    )
    print_table(
        ["said", "photos", "mean of it", "true"],
        [
            [
                f"{r.low:.0%} to {r.high:.0%}",
                str(r.count),
                f"{r.predicted:.1%}",
                f"{r.observed:.1%}",
            ]
            for r in evaluation.reliability
        ],
        f"Probability to be {LEGAL_AGE} or older",
    )


def _row(name: str, score: Score) -> list[str]:
    return [
        name,
        str(score.count),
        f"{score.mae:.2f}",
        f"{score.bias:+.2f}",
        f"{score.cs3:.1%}",
        f"{score.cs5:.1%}",
        f"{score.coverage:.1%}",
        f"{score.width:.1f}",
    ]
