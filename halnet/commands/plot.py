"""`halnet plot`."""

from pathlib import Path

import click

from halnet.commands.output import needs
from halnet.errors import ConfigError
from halnet.evaluation.figures import DARK, LIGHT
from halnet.evaluation.plots import plot_evaluation
from halnet.evaluation.predictions import PREDICTIONS_FILE, read_predictions
from halnet.training.plots import plot_training
from halnet.training.training_log import LOG_FILE, read_log


@click.command("plot")
@click.argument("run", type=Path)
@click.option("--out", type=Path, help="Folder for the pictures; default: RUN/plots.")
@click.option(
    "--format", "suffix", default="png", show_default=True, type=click.Choice(["png", "svg", "pdf"])
)
@click.option("--dark", is_flag=True, help="On dark paper.")
def command(run: Path, out: Path | None, suffix: str, dark: bool) -> None:
    """Draw the training and the evaluation of a RUN folder from its CSV files alone.

    training_log.csv gives loss, MAE, learning rate and generalisation gap; predictions.csv, which
    a finished run has, gives predicted against true age, error and coverage by decade and the
    reliability at 18, for validation and test.
    """
    with needs("train"):
        import matplotlib  # noqa: F401

    log = read_log(run / LOG_FILE)
    if not log.rows:
        raise ConfigError(f"{run}: expected a run folder with epochs in {LOG_FILE}, found none")
    if log.cut_off:
        click.echo(f"{run / LOG_FILE}: its last line is cut off, and left out", err=True)
    folder = out or run / "plots"
    written = [folder / f"training.{suffix}"]
    theme = DARK if dark else LIGHT
    plot_training(log.rows, written[0], theme)
    if (run / PREDICTIONS_FILE).exists():
        for split, predictions in read_predictions(run / PREDICTIONS_FILE).items():
            written.append(folder / f"{split}.{suffix}")
            plot_evaluation(predictions, written[-1], theme)
    for path in written:
        click.echo(path)
