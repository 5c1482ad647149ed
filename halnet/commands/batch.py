"""`halnet batch`."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path

import click

from halnet.batch.config import BatchConfig
from halnet.batch.parts import SHARD, SHARDS
from halnet.batch.run import BatchSummary, run_batch
from halnet.batches import FaceSelection
from halnet.commands.face_options import face_options
from halnet.commands.options import detector_option, json_option, runtime_options
from halnet.commands.output import progress
from halnet.prediction_run import OnProgress, PredictConfig, RunOutcome
from halnet.results import FORMAT
from halnet.runtimes.base import RuntimeOptions, RuntimeSpec

STATUS = {RunOutcome.COMPLETE: 0, RunOutcome.PARTIAL: 1, RunOutcome.UNREADABLE: 2}


@click.command("batch")
@click.argument("source")
@click.argument("out")
@click.option(
    "--column",
    help="Read Parquet files, which have the bytes of a photo in each row of this column. A field "
    "of a column is image.bytes. Default: SOURCE has photos.",
)
@click.option(
    "--id",
    "id_column",
    help="Column of the Parquet files with the name of each photo. Default: the name is that of "
    "the file, # and the number of the row, counted from 0.",
)
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@runtime_options("runtime", "device", "threads", threads="1, since each worker uses one core")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Number of workers, each of which has one photo at a time. Default: as many as there are "
    "cores for their threads, which is also the most.",
)
@detector_option()
@face_options
@click.option(
    "--quality",
    is_flag=True,
    help="Add to each face the numbers that say how well its age can be judged, such as its "
    "sharpness.",
)
@click.option(
    "--shard",
    type=click.IntRange(1),
    help="Number of photos in each result file. What a killed run loses is at most one such file "
    f"for each worker. Default: {SHARD}, or fewer if SOURCE has not so many that each worker has "
    f"{SHARDS} files.",
)
@click.option("--resume", is_flag=True, help="Continue the run in OUT.")
@click.option(
    "--address",
    help="Address of a Ray cluster, such as 10.0.0.1:6379, or auto for the one that this machine "
    "belongs to. Default: only this machine works.",
)
@json_option("Print what was done as JSON.")
def command(
    source: str,
    out: str,
    column: str | None,
    id_column: str | None,
    model: Path | None,
    options: RuntimeOptions,
    workers: int | None,
    detector: Path | None,
    faces: str,
    min_face: float,
    level: float,
    at_least: tuple[int, ...],
    quality: bool,
    shard: int,
    resume: bool,
    address: str | None,
    as_json: bool,
) -> int:
    """Predict all photos in SOURCE, which may be millions, and write their faces into OUT.

    SOURCE is a folder, a pattern such as "party/**/*.jpg", or an address such as s3://bucket/party.
    In a folder, the names of files say which of them are photos. With --column, it has Parquet
    files with photos in them. OUT is a new or empty folder or address outside of SOURCE. It becomes
    a folder of Parquet files with the columns of halnet predict --csv: one row for each face, and
    one with an error for each photo without a face. Each photo is in the result exactly once, also
    after a run was killed and continued with --resume.

    Needs pip install 'halnet[ray]'. The counts and the exit status are those of all photos in OUT,
    also after --resume. The status is 1 if a photo cannot be read or shows no face, or videos or
    links were left out (all others are processed), and 2 if no photo can be read or the run stops
    with an error.
    """
    selection = FaceSelection(largest=faces == "largest", level=level, at_least=at_least)
    prediction = PredictConfig(
        sources=(source,),
        model=model,
        options=options,
        detector=detector,
        min_face=min_face,
        selection=selection,
        quality=quality,
    )
    config = BatchConfig(
        source, out, prediction, column, id_column, resume, shard, workers, address
    )
    # Ray prints on standard output that a worker ended, which is part of a run.
    with redirect_stdout(io.StringIO()):
        summary = run_batch(config, _start, _progress)
    if as_json:
        click.echo(json.dumps(_to_entry(summary), indent=2))
    else:
        _print_summary(summary)
    return STATUS[summary.outcome]


def _start(spec: RuntimeSpec, skipped: int) -> None:
    """Print what runs to stderr."""
    text = f"{Path(spec.model).name} on {spec.software}"
    if skipped:
        text += f"; skipping {skipped} photos that are done"
    click.echo(text, err=True)


@contextmanager
def _progress(label: str) -> Iterator[OnProgress]:
    """Show the progress of the photos, and how to continue if it is interrupted."""
    try:
        with progress(label) as on_progress:
            yield on_progress
    except KeyboardInterrupt:
        click.echo(
            "halnet: the results stay; repeat the command with --resume to continue", err=True
        )
        raise


def _to_entry(summary: BatchSummary) -> dict[str, object]:
    return {
        "format": FORMAT,
        "out": summary.out,
        **asdict(summary.counts),
        "skipped": summary.skipped,
        "left_out": summary.left_out,
    }


def _print_summary(summary: BatchSummary) -> None:
    counts = summary.counts
    if summary.left_out:
        found = "; ".join(f"{reason}: {count}" for reason, count in summary.left_out.items())
        click.echo(f"halnet: left out: {found}", err=True)
    click.echo(
        f"{summary.out}: {counts.faces} faces in {counts.photos} photos; without an age: "
        f"{counts.without_face} photos without a face, {counts.unread} not read"
    )
