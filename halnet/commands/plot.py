"""`halnet plot`."""

from pathlib import Path

import click

from halnet.commands.options import theme_option
from halnet.errors import ConfigError
from halnet.evaluation.figures import SUFFIXES, Theme, import_matplotlib
from halnet.evaluation.plots import plot_evaluation
from halnet.evaluation.predictions import PREDICTIONS_FILE, read_predictions
from halnet.training.plots import plot_training
from halnet.training.training_log import LOG_FILE, read_log

FORMATS = [suffix.removeprefix(".") for suffix in SUFFIXES]


@click.command("plot")
@click.argument("run", type=Path)
@click.option("--out", type=Path, help="Folder for the pictures. Default: RUN/plots.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="File format of the pictures.",
)
@theme_option
def command(run: Path, out: Path | None, file_format: str, theme: Theme) -> None:
    """Draw the training and the evaluation of the run folder RUN.

    The picture of the training shows loss, mean error, learning rate and generalisation gap, from
    training_log.csv. The mean error is the MAE or, for labels that are ranges of ages, the distance
    to the range; for several datasets, the validation error is the mean over them. A finished run
    also has predictions.csv. From this file, one picture each for validation and test shows
    predicted and true ages, error and interval coverage by decade, and the reliability of the
    probability to be 18 or older. Several datasets have different colours.
    """
    import_matplotlib("halnet plot")
    log = read_log(run / LOG_FILE)
    if not log.rows:
        raise ConfigError(f"{run}: expected a run folder with epochs in {LOG_FILE}, found none")
    if log.cut_off:
        click.echo(f"{run / LOG_FILE}: the last line is cut off and is left out", err=True)
    folder = out or run / "plots"
    written = [folder / f"training.{file_format}"]
    plot_training(log.rows, written[0], theme)
    if (run / PREDICTIONS_FILE).exists():
        for split, predictions in read_predictions(run / PREDICTIONS_FILE).items():
            written.append(folder / f"{split}.{file_format}")
            plot_evaluation(predictions, written[-1], theme)
    for path in written:
        click.echo(path)
