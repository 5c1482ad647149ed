"""`halnet evaluate`."""

import json
from pathlib import Path

import click

from halnet.artifact import CHECKPOINTS
from halnet.commands.evaluation_tables import print_report, print_robustness
from halnet.commands.options import (
    detector_option,
    join_names,
    json_option,
    runtime_options,
    split_option,
    theme_option,
)
from halnet.commands.output import progress
from halnet.evaluation.accuracy import EvaluateConfig, evaluate_model
from halnet.evaluation.degradations import DEGRADATIONS, STRENGTHS
from halnet.evaluation.figures import SUFFIXES, Theme, check_figure, import_matplotlib
from halnet.evaluation.plots import plot_evaluation
from halnet.evaluation.robustness import measure_robustness
from halnet.evaluation.robustness_plot import plot_robustness
from halnet.runtimes.base import RuntimeOptions


@click.command("evaluate")
@click.argument("model", type=Path, required=False)
@click.option(
    "--data",
    type=Path,
    required=True,
    multiple=True,
    help="Folder of a prepared dataset, which halnet prepare wrote. Name several datasets by "
    "repeating the option.",
)
@split_option
@click.option(
    "--photos",
    type=Path,
    multiple=True,
    help="Folder of the original dataset. Start from its photos, with face detection, instead of "
    "the prepared crops. With several datasets, repeat the option in the order of --data.",
)
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=EvaluateConfig.limit,
    help="Evaluate on this many photos of each dataset, spread evenly. Default: all photos.",
)
@click.option(
    "--flip",
    is_flag=True,
    help="Average each crop with its mirror image, which takes twice the time.",
)
@click.option(
    "--robustness",
    is_flag=True,
    help="Measure instead how ages and intervals change if crops are degraded: "
    f"{len(DEGRADATIONS)} degradations at {len(STRENGTHS)} strengths. Each photo is predicted "
    f"{len(DEGRADATIONS) * len(STRENGTHS) + 1} times, so --limit is useful.",
)
@click.option(
    "--checkpoint",
    type=Path,
    help="Checkpoint from which MODEL was exported: a path, or the name of one that comes with "
    f"halnet ({join_names(CHECKPOINTS)}). It states which photos MODEL was trained on. "
    "Default: MODEL itself or the checkpoint that comes with halnet, if it is the right one.",
)
@runtime_options("runtime", "device", "threads")
@detector_option("the photos of --photos")
@click.option(
    "--figure",
    type=Path,
    help=f"Draw the result into this file, whose name ends in {join_names(SUFFIXES)}.",
)
@theme_option
@json_option()
def command(
    model: Path | None,
    data: tuple[Path, ...],
    split: str,
    photos: tuple[Path, ...],
    limit: int,
    flip: bool,
    robustness: bool,
    checkpoint: Path | None,
    options: RuntimeOptions,
    detector: Path | None,
    figure: Path | None,
    theme: Theme,
    as_json: bool,
) -> None:
    """Measure the errors of MODEL (default: the one that comes with halnet) on prepared datasets.

    A dataset whose split MODEL was trained on is evaluated on the part --split. A dataset that
    MODEL has never seen is evaluated on all of its photos, and is marked as "away". The hashes of
    photos in the checkpoint decide this.

    The first table has the mean absolute error (MAE), the bias, the share of photos with an error
    of at most 3 and 5 years (CS@3 and CS@5), and the coverage and mean width of the 90 % interval,
    for all photos, each dataset, each decade, each sex and each other group. Intervals in
    parentheses are 95 % intervals: bootstrap for MAE, exact (Clopper-Pearson) for coverage. If
    labels are ranges of ages, the table has the share of predicted ages inside the range and the
    distance to it. Shares and intervals of fewer than 20 photos are not stated.

    The other tables are about age checks at 18 years: the share of minors who are predicted to be
    adults, the share of minors who are let through and of adults who are stopped with a challenge
    age of 21 to 30 (as in NIST FATE AEV), and the reliability of the probability to be 18 or older.
    """
    if figure is not None:
        import_matplotlib("halnet evaluate --figure")
        check_figure(figure)
    config = EvaluateConfig(data, model, split, photos, limit, flip, options, detector, checkpoint)
    if robustness:
        _evaluate_robustness(config, figure, theme, as_json)
        return
    with progress("photos") as on_progress:
        report = evaluate_model(config, on_progress)
    if figure is not None:
        plot_evaluation(report.predictions, figure, theme)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        print_report(report)


def _evaluate_robustness(
    config: EvaluateConfig, figure: Path | None, theme: Theme, as_json: bool
) -> None:
    with progress("crops") as on_progress:
        report = measure_robustness(config, on_progress)
    if figure is not None:
        plot_robustness(report.effects, figure, theme, report.error_name)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        print_robustness(report)
