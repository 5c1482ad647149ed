"""`halnet predict`."""

import codecs
import json
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import click

from halnet.batches import STDIN, FaceSelection, PhotoResult
from halnet.closing import Closing
from halnet.commands.face_options import face_options
from halnet.commands.options import FiniteRange, detector_option, json_option, runtime_options
from halnet.commands.output import progress
from halnet.photos.photo_files import LeftOut, read_stdin
from halnet.prediction_run import PredictConfig, RunOutcome, run_prediction
from halnet.result_files import NO_FACE, is_stdout, percent_text
from halnet.results import FORMAT
from halnet.runtimes.base import RuntimeOptions, RuntimeSpec

STATUS = {RunOutcome.COMPLETE: 0, RunOutcome.PARTIAL: 1, RunOutcome.UNREADABLE: 2}


@click.command("predict")
@click.argument("sources", metavar="PHOTOS...", nargs=-1)
@click.option(
    "--from",
    "listing",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help='File with the name of a photo or video on each line, or "-" for standard input. Names '
    "may end with a null byte instead, as those of find -print0 do.",
)
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@runtime_options("runtime", "device", "threads")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Number of photos, or frames of a video file, that are processed at the same time. "
    "Default: one for each core, with one thread each, if there are many photos or a video file "
    "and --threads is not given; otherwise 1.",
)
@detector_option()
@face_options
@click.option(
    "--quality",
    is_flag=True,
    help="Add to each face of --json, --csv and --jsonl the numbers that say how well its age can "
    "be judged, such as its sharpness.",
)
@click.option(
    "--every",
    type=FiniteRange(0),
    default=PredictConfig.every,
    help="For videos: seconds from one predicted frame to the next. Default: every frame of a "
    "file, and the newest frame of a live source.",
)
@click.option(
    "--smooth",
    type=FiniteRange(0),
    default=PredictConfig.smooth,
    show_default=True,
    help="For videos: the ages of a face are averaged over the frames before, and a frame counts "
    "half after so many seconds. 0: each frame has its own ages.",
)
@click.option(
    "--seconds",
    type=FiniteRange(0),
    help="For live sources: stop after this many seconds. Default: never.",
)
@click.option(
    "--draw", type=Path, help="Folder for copies of the photos and videos with boxes and ages."
)
@json_option(
    "Print a JSON list with one entry for each photo or frame, and one for each folder of which "
    "something was left out."
)
@click.option(
    "--csv",
    type=Path,
    help='CSV file with one row for each face, written during the work, or "-" for standard '
    "output.",
)
@click.option(
    "--jsonl",
    type=Path,
    help="JSON lines file with one object for each photo or frame, written during the work, or "
    '"-" for standard output.',
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue existing files and skip the photos that they already hold.",
)
def command(
    sources: tuple[str, ...],
    listing: Path | None,
    model: Path | None,
    options: RuntimeOptions,
    workers: int | None,
    detector: Path | None,
    faces: str,
    min_face: float,
    level: float,
    at_least: tuple[int, ...],
    quality: bool,
    every: float,
    smooth: float,
    seconds: float | None,
    draw: Path | None,
    as_json: bool,
    csv: Path | None,
    jsonl: Path | None,
    resume: bool,
) -> int:
    """Print the ages of the faces in PHOTOS.

    A photo is a JPEG, PNG, WebP or BMP file, a folder of such files, a pattern such as
    "party/**/*.jpg", or "-" for the bytes of one photo on standard input. HEIC and AVIF photos need
    pip install 'halnet[heif]'. A video is a file (MP4, MOV, MKV and others, which need pip install
    'halnet[video]'), the number of a camera ("0"), or the address of a stream ("rtsp://..."). Every
    frame of a video file is predicted, or one for each --every; if the file is damaged or cut off,
    this is reported after its good frames. A live source is predicted until it ends, until Ctrl-C,
    or for --seconds, and a slow machine skips frames instead of falling behind. The faces of a
    video are followed from frame to frame: each has a number, "track", and its ages are averaged
    over time (--smooth).

    What is no photo is left out of a folder, and counted by the reason at the end. The exit status
    is 1 if a photo cannot be read, shows no face or is left out (all others are processed), and 2
    if no photo can be read.
    """
    names = [*sources, *_read_names(listing)]
    if not names:
        raise click.UsageError('name photos, folders or videos, or "-" for standard input')
    selection = FaceSelection(largest=faces == "largest", level=level, at_least=at_least)
    config = PredictConfig(
        sources=tuple(names),
        model=model,
        options=options,
        detector=detector,
        min_face=min_face,
        selection=selection,
        quality=quality,
        every=every,
        smooth=smooth,
        seconds=seconds,
        draw=draw,
        csv=csv,
        jsonl=jsonl,
        resume=resume,
        workers=workers,
    )
    if as_json and (is_stdout(csv) or is_stdout(jsonl)):
        raise click.UsageError("--json prints to standard output; name a file for the results")
    prints_faces = not as_json and csv is None and jsonl is None
    if quality and prints_faces:
        raise click.UsageError("--quality adds numbers to --json, --csv and --jsonl; name one")
    printer = _JsonPrinter(selection) if as_json else _LinePrinter(selection, prints_faces)
    with printer:
        outcome = run_prediction(
            config,
            printer.show,
            printer.start,
            partial(progress, quiet=prints_faces),
            printer.show_left_out,
        )
    return STATUS[outcome]


def _read_names(listing: Path | None) -> list[str]:
    """Return the names in a list, with their bytes; see os.fsdecode."""
    if listing is None:
        return []
    data = read_stdin() if listing == STDIN else listing.read_bytes()
    data = data.removeprefix(codecs.BOM_UTF8)
    lines = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [os.fsdecode(line) for line in lines if line.strip()]


class _LinePrinter(Closing):
    """Prints a line for each face, or none if `prints_faces` is false."""

    def __init__(self, selection: FaceSelection, prints_faces: bool) -> None:
        self._selection = selection
        self._prints_faces = prints_faces
        self._without: Counter[str] = Counter()  # results without an age, by the reason

    def start(self, spec: RuntimeSpec, skipped: int) -> None:
        """Print what runs to stderr."""
        text = f"{Path(spec.model).name} on {spec.software}"
        if skipped:
            text += f"; skipping {skipped} photos that the files already hold"
        click.echo(text, err=True)

    def show(self, result: PhotoResult) -> None:
        """Print one line for each face, or one that says that there is none, or an error."""
        if self._prints_faces:
            _print_faces(result, self._selection)
        elif result.error is not None:
            self._without["not read"] += 1
        elif not result.faces and result.time is None:
            self._without["without a face"] += 1

    def show_left_out(self, left_out: LeftOut) -> None:
        """Print what was left out of a folder to stderr."""
        click.echo(f"halnet: left out of {left_out.source}: {left_out}", err=True)

    def close(self) -> None:
        """Print how many photos are in the result files without an age."""
        if self._without:
            counts = ", ".join(f"{count} {reason}" for reason, count in self._without.items())
            text = f"halnet: photos without an age: {counts}; the result file names them"
            click.echo(text, err=True)


class _JsonPrinter(_LinePrinter):
    """Prints a JSON list, which is closed however the run ends."""

    def __init__(self, selection: FaceSelection) -> None:
        super().__init__(selection, prints_faces=False)
        self._before = ""  # what is printed before the next entry
        self._end = ""

    def start(self, spec: RuntimeSpec, skipped: int) -> None:
        """Begin the list."""
        super().start(spec, skipped)
        self._end = "]\n"
        click.echo("[", nl=False)

    def show(self, result: PhotoResult) -> None:
        """Print a result as an entry of the list."""
        self._add(result.to_dict(self._selection.level, self._selection.at_least))

    def show_left_out(self, left_out: LeftOut) -> None:
        """Print an entry for a folder of which something was left out, and a line to stderr."""
        super().show_left_out(left_out)
        counts = {reason.text: count for reason, count in left_out.counts.items()}
        source = {"photo": str(left_out.source), "faces": [], "left_out": counts}
        self._add({"format": FORMAT, **source})

    def _add(self, entry: dict[str, Any]) -> None:
        # If Ctrl-C comes between these lines, the list ends without the entry.
        text, self._before = self._before + json.dumps(entry), ",\n"
        click.echo(text, nl=False)

    def close(self) -> None:
        """Close the list, if it was begun."""
        click.echo(self._end, nl=False)


def _print_faces(result: PhotoResult, selection: FaceSelection) -> None:
    """Print one line for each face, or one that says that there is none, or an error."""
    if result.error is not None:
        click.echo(f"halnet: {result.error}", err=True)
        return
    name = str(result.photo) + ("" if result.time is None else f", {result.time:.2f} s")
    if not result.faces:
        click.echo(f"{name}: {NO_FACE}")
    for face in result.faces:
        low, high = face.interval(selection.level)
        x, y, width, height = face.box
        ages = selection.at_least
        likely = [f"{age} or older: {percent_text(face.probability(at_least=age))}" for age in ages]
        parts = (
            f"{face.age:.1f} years",
            f"{selection.level:.0%} interval {low:.1f} to {high:.1f}",
            *likely,
            f"box {x:.0f} {y:.0f} {width:.0f} {height:.0f}",
        )
        click.echo(f"{name}: {', '.join(parts)}")
