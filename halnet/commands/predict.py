"""`halnet predict`."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path

import click

from halnet.batches import (
    FaceSelection,
    PhotoResult,
    find_photos,
    plan_videos,
    predict_photos,
    predict_video,
)
from halnet.commands.output import progress
from halnet.errors import ConfigError, ImageError
from halnet.predictor import Predictor
from halnet.result_files import ResultFile, model_name
from halnet.video import Video, display_name, is_video


@click.command("predict")
@click.argument("sources", metavar="PHOTOS...", nargs=-1)
@click.option(
    "--from",
    "listing",
    type=click.File("r"),
    help='File with a name of a photo or video on each line; "-": standard input.',
)
@click.option("--model", type=Path, help="Model file; default: the bundled one.")
@click.option("--runtime", default="auto", show_default=True, help="onnxruntime, pytorch or auto.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--threads", type=click.IntRange(1), help="Of the runtime; default: all cores.")
@click.option("--detector", type=Path, help="Local YuNet file; else it is fetched once.")
@click.option(
    "--faces",
    type=click.Choice(["all", "largest"]),
    default="all",
    show_default=True,
    help="Of each photo.",
)
@click.option("--min-face", default=0.0, show_default=True, help="Narrowest face, pixels.")
@click.option("--level", default=0.9, show_default=True, help="Rate at which the interval holds.")
@click.option(
    "--every",
    type=click.FloatRange(0),
    default=0.0,
    help="Videos: seconds from one frame that is looked at to the next. Default: each frame of a "
    "file, the newest of a live source.",
)
@click.option("--seconds", type=click.FloatRange(0), help="Live sources: how long. Default: ever.")
@click.option("--draw", type=Path, help="Folder for copies with boxes and ages.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, an entry a photo.")
@click.option("--csv", type=Path, help="File for a row a face, written as it goes.")
@click.option("--jsonl", type=Path, help="File for a JSON object a photo, written as it goes.")
@click.option("--resume", is_flag=True, help="Go on with those files: do what is not in them.")
def command(
    sources: tuple[str, ...],
    listing: Iterator[str] | None,
    model: Path | None,
    runtime: str,
    device: str,
    threads: int | None,
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

    A photo is a JPEG, PNG, WebP or BMP file, a folder of them, a pattern such as "party/**/*.jpg",
    or "-" for the bytes of one on standard input. Videos are looked at frame by frame: a file (MP4,
    MOV, MKV, ...), the number of a camera ("0"), or the address of a stream ("rtsp://..."). A live
    source goes on until it ends, Ctrl-C or --seconds; frames that come too fast are left out.

    Exit status 1 if a photo is bad or has no face (the others are done), 2 if none can be read.
    """
    names = [*sources, *(line.rstrip("\n") for line in listing or () if line.strip())]
    if not names:
        raise click.UsageError('name photos, folders or videos, or "-" for standard input')
    if resume and csv is None and jsonl is None:
        raise ConfigError("--resume goes on with a file; name it with --csv or --jsonl")
    videos = [name for name in names if is_video(name)]
    photos = find_photos([Path(name) for name in names if not is_video(name)])
    copies = plan_videos(videos, draw) if draw else {}
    predictor = Predictor(
        model, runtime=runtime, device=device, threads=threads, detector=detector, min_face=min_face
    )
    spec = predictor.spec
    # A bad level and a missing detector fail before the work.
    spec.metadata.calibration.interval(0.0, 1.0, level)
    _ = predictor.detector
    selection = FaceSelection(faces == "largest", level)
    seen: set[str] = set()  # kinds of outcomes of photos and frames
    ended: set[str] = set()  # of photos and videos
    with ExitStack() as stack:
        files = [
            stack.enter_context(ResultFile(path, kind, level, model_name(spec), resume))
            for path, kind in ((csv, "csv"), (jsonl, "jsonl"))
            if path is not None
        ]
        done = frozenset.intersection(*(file.done for file in files)) if files else frozenset()
        photos = [photo for photo in photos if str(photo) not in done]
        videos = [video for video in videos if display_name(video) not in done]
        which = f"{Path(spec.model).name} on {spec.runtime} {spec.version}, {spec.provider}"
        click.echo(which + (f"; {len(done)} done before" if done else ""), err=True)
        shows: list[Callable[[PhotoResult], None]] = [file.write for file in files]
        if as_json:
            shows.append(stack.enter_context(_json_list(level)))
        elif not files:
            shows.append(partial(_show, level=level))

        def follow(results: Iterable[PhotoResult], label: str, total: int) -> set[str]:
            found = set()
            with progress(label, quiet=not as_json and not files) as on_progress:
                for index, result in enumerate(results, 1):
                    for show in shows:
                        show(result)
                    found.add(_outcome(result))
                    on_progress(index, max(index, total))
            seen.update(found)
            return found

        if photos:
            results = predict_photos(predictor, photos, draw, selection)
            ended |= follow(results, "photos", len(photos))
        for name in videos:
            try:
                video = stack.enter_context(Video(name, every))
            except ImageError as error:
                failed = PhotoResult(Path(display_name(name)), [], str(error))
                ended |= follow([failed], "videos", 1)
                continue
            results = predict_video(predictor, video, copies.get(name), selection)
            if video.live and seconds is not None:
                results = takewhile(lambda result: (result.time or 0.0) <= seconds, results)
            frames = follow(results, f"frames of {video.name}", len(video))
            ended.add(next(kind for kind in (BAD, GOOD, WITHOUT) if kind in frames))
    if seen == {BAD} and not done:
        return 2
    return 0 if ended <= {GOOD} else 1


GOOD, WITHOUT, BAD = "with faces", "without", "bad"


def _outcome(result: PhotoResult) -> str:
    if result.error is not None:
        return BAD
    return GOOD if result.faces else WITHOUT


@contextmanager
def _json_list(level: float) -> Iterator[Callable[[PhotoResult], None]]:
    """Yield a function that prints an entry; all of them make one JSON list."""
    before = "["

    def show(result: PhotoResult) -> None:
        nonlocal before
        click.echo(before + json.dumps(result.to_dict(level)), nl=False)
        before = ",\n"

    yield show
    click.echo("[]" if before == "[" else "]")


def _show(result: PhotoResult, level: float) -> None:
    if result.error is not None:
        click.echo(f"halnet: {result.error}", err=True)
        return
    place = str(result.photo) + ("" if result.time is None else f", {result.time:.2f} s")
    if not result.faces:
        click.echo(f"{place}: no face found")
    for face in result.faces:
        low, high = face.interval(level)
        x, y, width, height = face.box
        click.echo(
            f"{place}: {face.age:.1f} years, {level:.0%} interval {low:.1f} to {high:.1f}, "
            f"box {x:.0f} {y:.0f} {width:.0f} {height:.0f}"
        )
