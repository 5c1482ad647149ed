"""`halnet prepare`."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from halnet.ages import AGE_MAX
from halnet.commands.options import detector_option, join_names, json_option
from halnet.commands.output import progress
from halnet.datasets.csv_source import CsvColumns
from halnet.datasets.indexing import PrepareSummary
from halnet.datasets.preparing import prepare
from halnet.datasets.sources import DATASETS
from halnet.packages import import_library

_COLUMN_HELP = {
    "path": "the path of a photo, relative to the folder of the CSV file",
    "age": "the age in years",
    "age_low": "the lowest age that the label allows, if it is a range",
    "age_high": "the highest age that the label allows, if it is a range",
    "sex": "female, male or nothing",
    "person": "the name or number of the person, whose photos stay in one part of the split",
    "split": "train, val, test or nothing",
}


def _column_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for the name of each column of a CSV file."""
    for field in reversed(fields(CsvColumns)):
        function = click.option(
            f"--{field.name.replace('_', '-')}-column",
            field.name,
            default=field.default,
            show_default=True,
            help=f"Column of a CSV file with {_COLUMN_HELP[field.name]}.",
        )(function)
    return function


@click.command("prepare")
@click.argument("source", type=Path)
@click.option(
    "--dataset",
    default=next(iter(DATASETS)),
    show_default=True,
    help=f"Kind of dataset that SOURCE is: {join_names(DATASETS)}.",
)
@click.option("--out", type=Path, required=True, help="Folder for the prepared dataset.")
@click.option("--name", default="", help="Name of the dataset in results. Default: its kind.")
@click.option(
    "--shares",
    default="",
    metavar="TRAIN/VAL/TEST",
    help="Shares of training, validation and test in percent. Default: "
    + ", ".join(f"{kind.shares} for {name}" for name, kind in DATASETS.items())
    + ".",
)
@click.option(
    "--workers",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Number of processes. The result does not depend on it.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Seed of the split.",
)
@_column_options
@detector_option()
@json_option("Print the summary as JSON.")
def command(
    source: Path,
    dataset: str,
    out: Path,
    name: str,
    shares: str,
    workers: int,
    seed: int,
    detector: Path | None,
    as_json: bool,
    **columns: str,
) -> None:
    """Find, align and crop the faces in the photos of SOURCE, and split them.

    SOURCE is the folder of a dataset, such as All-Age-Faces (aaf), or a CSV file that lists
    labelled photos in its folder (csv). The photos are processed as photos in a prediction are.
    The command writes crops/, index.csv, rejects.csv (the photos and rows that were left out, and
    why) and dataset_split_stratified.json (the parts for training, validation and test, all with
    the same distribution of ages).

    A CSV file needs the columns path, and age or both age_low and age_high. It may have the columns
    sex, person and split. Each other column is a group, such as a camera, by which results are
    listed. The file may have commas, semicolons or tabs.

    Photos of one person, and copies of one photo, stay in one part of the split. Copies whose ages
    differ by more than 2 years are rejected. Copies are found if they were compressed again or
    recoloured; most copies that were resized or cropped are missed.

    If the command is interrupted, run it again to continue. It does not change a folder that is
    complete. If photos of SOURCE were added or replaced, or if the folder lost a file, it says so
    and brings the folder up to date. It never moves a photo to another part.
    """
    import_library("sklearn", "halnet prepare", "train")  # for the split, which is made at the end
    start = time.perf_counter()
    finished: list[int] = []  # number of finished photos, when the work starts and now
    repairs: list[str] = []
    with progress("photos") as show:

        def on_progress(done: int, total: int) -> None:
            finished[1:] = [done]
            show(done, total)

        def on_repair(text: str) -> None:
            repairs.append(text)
            click.echo(f"halnet: {text}", err=True)

        summary = prepare(
            source,
            out,
            dataset,
            name=name,
            shares=shares,
            columns=CsvColumns(**columns),
            workers=workers,
            seed=seed,
            detector=detector,
            on_progress=on_progress,
            on_repair=on_repair,
        )
    seconds = time.perf_counter() - start
    if as_json:
        click.echo(json.dumps({**asdict(summary), "seconds": round(seconds, 2)}))
    else:
        print_summary(summary)
        count = finished[-1] - finished[0] if finished else 0
        if count:
            rate = f"{count / seconds:.0f} photos per second"
            click.echo(f"{count} photos in {seconds:.1f} s, {rate}")
        elif not repairs:
            click.echo("the folder was complete and was not changed")


def print_summary(summary: PrepareSummary) -> None:
    """Print what a prepared folder has."""
    click.echo(
        f"{summary.photos} photos: {summary.indexed} in the index, {summary.rejected} rejected, "
        f"{summary.several_faces} with several faces"
    )
    for reason, number in summary.reasons.items():
        click.echo(f"  {number} rejected: {reason}")
    if summary.twins or summary.twins_rejected:
        click.echo(_describe_twins(summary))
    if summary.clipped:
        click.echo(f"{summary.clipped} ages above {AGE_MAX} years, which count as {AGE_MAX}")
    if summary.landmark_error is not None:
        click.echo(f"median landmark error: {summary.landmark_error:.1%} of the eye distance")
    parts = ", ".join(f"{number} {name}" for name, number in summary.split.items())
    click.echo(f"split {summary.split_sha256[:12]}: {parts}")


def _describe_twins(summary: PrepareSummary) -> str:
    text = f"{summary.twins} photos are copies of others"
    if summary.twins_apart:
        text += (
            f"; {summary.twins_apart} of them have a copy in another part, and are left out when "
            "the dataset is used"
        )
    else:
        text += " and stay in one part with them"
    if summary.twins_rejected:
        text += f"; {summary.twins_rejected} copies are rejected because their ages differ"
    return text
