"""`halnet prepare`."""

import json
import time
from dataclasses import asdict
from pathlib import Path

import click

from halnet.commands.options import detector_option, join_names, json_option
from halnet.commands.output import progress
from halnet.datasets.preparing import PrepareSummary, prepare
from halnet.datasets.sources import DATASETS
from halnet.packages import import_library


@click.command("prepare")
@click.argument("source", type=Path)
@click.option(
    "--dataset",
    default=next(iter(DATASETS)),
    show_default=True,
    help=f"Kind of dataset that SOURCE is: {join_names(DATASETS)}.",
)
@click.option("--out", type=Path, required=True, help="Folder for the prepared dataset.")
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
@detector_option()
@json_option("Print the summary as JSON.")
def command(
    source: Path,
    dataset: str,
    out: Path,
    workers: int,
    seed: int,
    detector: Path | None,
    as_json: bool,
) -> None:
    """Find, align and crop the faces in the photos of SOURCE, and split them.

    SOURCE is the folder of a dataset, such as All-Age-Faces (aaf). Its photos are processed in the
    same way as photos in a prediction. The command writes crops/, index.csv, rejects.csv (the
    photos that were left out, and why), dataset_split_stratified.json (90 % for training, 5 % for
    validation, 5 % for the test, all with the same distribution of ages) and prepared.json (the
    summary).

    If the command is interrupted, run it again to continue. It does not change a folder that is
    complete.
    """
    import_library("sklearn", "halnet prepare", "train")  # for the split, which is made at the end
    start = time.perf_counter()
    finished: list[int] = []  # number of finished photos, when the work starts and after each photo
    with progress("photos") as show:

        def on_progress(done: int, total: int) -> None:
            finished.append(done)
            show(done, total)

        summary = prepare(
            source,
            out,
            dataset,
            workers=workers,
            seed=seed,
            detector=detector,
            on_progress=on_progress,
        )
    seconds = time.perf_counter() - start
    if as_json:
        click.echo(json.dumps({**asdict(summary), "seconds": round(seconds, 2)}))
    else:
        print_summary(summary, finished[-1] - finished[0] if finished else 0, seconds)


def print_summary(summary: PrepareSummary, count: int, seconds: float) -> None:
    """Print what a prepared folder has, and the speed of a run that processed `count` photos."""
    click.echo(
        f"{summary.photos} photos: {summary.indexed} in the index, {summary.rejected} rejected, "
        f"{summary.several_faces} with several faces"
    )
    if summary.landmark_error is not None:
        click.echo(f"median landmark error: {summary.landmark_error:.1%} of the eye distance")
    parts = ", ".join(f"{number} {name}" for name, number in summary.split.items())
    click.echo(f"split {summary.split_sha256[:12]}: {parts}")
    if count:
        click.echo(f"{count} photos in {seconds:.1f} s, {count / seconds:.0f} photos per second")
    else:
        click.echo("the folder was complete and was not changed")
