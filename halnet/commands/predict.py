"""`halnet predict`."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import click

from halnet.batches import FaceSelection, PhotoResult
from halnet.commands.options import FiniteRange, detector_option, json_option, runtime_options
from halnet.commands.output import progress
from halnet.prediction_run import PredictConfig, RunOutcome, run_prediction
from halnet.result_files import NO_FACE
from halnet.runtimes.base import RuntimeOptions, RuntimeSpec

STATUS = {RunOutcome.COMPLETE: 0, RunOutcome.PARTIAL: 1, RunOutcome.UNREADABLE: 2}


@click.command("predict")
@click.argument("sources", metavar="PHOTOS...", nargs=-1)
@click.option(
    "--from",
    "listing",
    type=click.File("r"),
    help='File with the name of a photo or video on each line, or "-" for standard input.',
)
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@runtime_options("runtime", "device", "threads")
@detector_option()
@click.option(
    "--faces",
    type=click.Choice(["all", "largest"]),
    default="all",
    show_default=True,
    help="Which faces of each photo are predicted.",
)
@click.option(
    "--min-face",
    type=FiniteRange(0),
    default=PredictConfig.min_face,
    show_default=True,
    help="Leave out faces that are narrower than this, in pixels.",
)
@click.option(
    "--level",
    type=FiniteRange(),  # the bounds are those of the model
    default=FaceSelection.level,
    show_default=True,
    help="Interval coverage, for example 0.9.",
)
@click.option(
    "--every",
    type=FiniteRange(0),
    default=PredictConfig.every,
    help="For videos: seconds from one predicted frame to the next. Default: every frame of a "
    "file, and the newest frame of a live source.",
)
@click.option(
    "--seconds",
    type=FiniteRange(0),
    help="For live sources: stop after this many seconds. Default: never.",
)
@click.option(
    "--draw", type=Path, help="Folder for copies of the photos and videos with boxes and ages."
)
@json_option("Print a JSON list with one entry for each photo or frame.")
@click.option(
    "--csv", type=Path, help="CSV file with one row for each face, written during the work."
)
@click.option(
    "--jsonl",
    type=Path,
    help="JSON lines file with one object for each photo or frame, written during the work.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue existing files and skip the photos that they already hold.",
)
def command(
    sources: tuple[str, ...],
    listing: Iterator[str] | None,
    model: Path | None,
    options: RuntimeOptions,
    detector: Path | None,
    faces: str,
    min_face: float,
    level: float,
    every: float,
    seconds: float | None,
    draw: Path | None,
    as_json: bool,
    csv: Path | None,
    jsonl: Path | None,
    resume: bool,
) -> int:
    """Print the ages of the faces in PHOTOS.

    A photo is a JPEG, PNG, WebP or BMP file, a folder of such files, a pattern such as
    "party/**/*.jpg", or "-" for the bytes of one photo on standard input. A video is a file (MP4,
    MOV, MKV and others), the number of a camera ("0"), or the address of a stream ("rtsp://...").
    Without --every, every frame of a video file is predicted. A live source is predicted until it
    ends, until Ctrl-C, or for --seconds, and a slow machine skips frames instead of falling behind.

    The exit status is 1 if a photo cannot be read or shows no face (all others are processed), and
    2 if no photo can be read.
    """
    names = [*sources, *(line.rstrip("\n") for line in listing or () if line.strip())]
    if not names:
        raise click.UsageError('name photos, folders or videos, or "-" for standard input')
    selection = FaceSelection(largest=faces == "largest", level=level)
    config = PredictConfig(
        sources=tuple(names),
        model=model,
        options=options,
        detector=detector,
        min_face=min_face,
        selection=selection,
        every=every,
        seconds=seconds,
        draw=draw,
        csv=csv,
        jsonl=jsonl,
        resume=resume,
    )
    prints_faces = not as_json and csv is None and jsonl is None
    with _printer(as_json, prints_faces, level) as show:
        outcome = run_prediction(config, show, _print_start, partial(progress, quiet=prints_faces))
    return STATUS[outcome]


def _print_start(spec: RuntimeSpec, skipped: int) -> None:
    """Print what runs to stderr."""
    text = f"{Path(spec.model).name} on {spec.runtime} {spec.version}, {spec.provider}"
    if skipped:
        text += f"; skipping {skipped} photos that the files already hold"
    click.echo(text, err=True)


def _printer(
    as_json: bool, prints_faces: bool, level: float
) -> AbstractContextManager[Callable[[PhotoResult], None]]:
    """Return a context manager that gives the function that prints a result."""
    if as_json:
        return _json_list(level)
    return nullcontext(partial(_print_faces, level=level) if prints_faces else lambda result: None)


@contextmanager
def _json_list(level: float) -> Iterator[Callable[[PhotoResult], None]]:
    """Yield a function that prints a result as an entry of one JSON list."""
    before = "["

    def show(result: PhotoResult) -> None:
        nonlocal before
        click.echo(before + json.dumps(result.to_dict(level)), nl=False)
        before = ",\n"

    yield show
    click.echo("[]" if before == "[" else "]")


def _print_faces(result: PhotoResult, level: float) -> None:
    """Print one line for each face, or one that says that there is none, or an error."""
    if result.error is not None:
        click.echo(f"halnet: {result.error}", err=True)
        return
    name = str(result.photo) + ("" if result.time is None else f", {result.time:.2f} s")
    if not result.faces:
        click.echo(f"{name}: {NO_FACE}")
    for face in result.faces:
        low, high = face.interval(level)
        x, y, width, height = face.box
        click.echo(
            f"{name}: {face.age:.1f} years, {level:.0%} interval {low:.1f} to {high:.1f}, "
            f"box {x:.0f} {y:.0f} {width:.0f} {height:.0f}"
        )
