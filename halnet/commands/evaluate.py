"""`halnet evaluate`."""

import json
from pathlib import Path

import click

from halnet.ages import LEGAL_AGE, LEVEL
from halnet.commands.options import (
    data_option,
    detector_option,
    join_names,
    json_option,
    runtime_options,
    split_option,
    theme_option,
)
from halnet.commands.output import print_table, progress
from halnet.evaluation.accuracy import EvaluateConfig, ModelReport, evaluate_model
from halnet.evaluation.figures import SUFFIXES, Theme, check_figure
from halnet.evaluation.metrics import Evaluation, Score
from halnet.evaluation.plots import plot_evaluation
from halnet.packages import import_library
from halnet.runtimes.base import RuntimeOptions


@click.command("evaluate")
@click.argument("model", type=Path, required=False)
@data_option(required=True)
@split_option
@click.option(
    "--photos",
    type=Path,
    help="Folder of the original dataset. Start from its photos, with face detection, instead of "
    "the prepared crops.",
)
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=EvaluateConfig.limit,
    help="Evaluate on this many photos, spread evenly over the split. Default: all photos.",
)
@click.option(
    "--flip",
    is_flag=True,
    help="Average each crop with its mirror image, which takes twice the time.",
)
@runtime_options("runtime", "device", "threads")
@detector_option("the photos of --photos")
@click.option(
    "--figure",
    type=Path,
    help=f"Draw the errors into this file, whose name ends in {join_names(SUFFIXES)}.",
)
@theme_option
@json_option()
def command(
    model: Path | None,
    data: Path,
    split: str,
    photos: Path | None,
    limit: int,
    flip: bool,
    options: RuntimeOptions,
    detector: Path | None,
    figure: Path | None,
    theme: Theme,
    as_json: bool,
) -> None:
    """Measure the errors of MODEL (default: the one that comes with halnet) on a split.

    The first table has the mean absolute error (MAE), the bias, the share of photos with an error
    of at most 3 and 5 years (CS@3 and CS@5), and the coverage and mean width of the 90 % interval,
    for all photos, each decade and each sex. The other tables are about age checks at 18 years:
    the share of minors who are let through and of adults who are stopped with a challenge age of 21
    to 30 (as in NIST FATE AEV), and the reliability of the probability to be 18 or older.
    """
    if figure is not None:
        import_library("matplotlib", "halnet evaluate --figure", "report")
        check_figure(figure)
    config = EvaluateConfig(data, model, split, photos, limit, flip, options, detector)
    with progress("photos") as on_progress:
        report = evaluate_model(config, on_progress)
    if figure is not None:
        plot_evaluation(report.predictions, figure, theme)
    if as_json:
        values = {
            "split": split,
            "split_sha256": report.split_sha256,
            "without_face": report.missed,
            "flip": flip,
        }
        click.echo(json.dumps({**values, **report.evaluation.to_dict()}))
    else:
        print_report(report, config)


def print_report(report: ModelReport, config: EvaluateConfig) -> None:
    """Print the tables of an evaluation."""
    spec = report.spec
    flipped = ", averaged with mirror images" if config.flip else ""
    title = (
        f"{Path(spec.model).name} on {spec.runtime}{flipped}: {report.dataset} {config.split} "
        f"split {report.split_sha256[:12]}"
    )
    _print_errors(report.evaluation, title)
    _print_age_checks(report.evaluation)
    if report.missed:
        click.echo(f"{report.missed} photos are not in these figures: no face was detected in them")


def _print_errors(evaluation: Evaluation, title: str) -> None:
    rows = [_row("all", evaluation.overall)]
    rows += [_row(name, part) for name, part in evaluation.by_decade.items()]
    rows += [_row(name, part) for name, part in evaluation.by_sex.items()]
    columns = [
        *("group", "photos", "MAE,\nyears", "bias,\nyears", "CS@3", "CS@5"),
        *(f"true ages inside\n{LEVEL:.0%} interval", "mean interval\nwidth, years"),
    ]
    print_table(columns, rows, title)
    low, high = evaluation.mae_interval
    click.echo(f"MAE {evaluation.overall.mae:.3f} years, 95 % interval {low:.2f} to {high:.2f}\n")


def _print_age_checks(evaluation: Evaluation) -> None:
    first = evaluation.challenges[0]
    print_table(
        ["challenge age", "minors let through", "adults stopped"],
        [
            [str(check.age), f"{check.minors_passed:.1%}", f"{check.adults_stopped:.1%}"]
            for check in evaluation.challenges
        ],
        f"Age check at {LEGAL_AGE} years: {first.minors} minors, {first.adults} adults",
    )
    print_table(
        ["predicted range", "photos", "mean predicted", "observed"],
        [
            [
                f"{part.low:.0%} to {part.high:.0%}",
                str(part.count),
                f"{part.predicted:.1%}",
                f"{part.observed:.1%}",
            ]
            for part in evaluation.reliability
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
