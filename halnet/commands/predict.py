"""`halnet predict`."""

import json
from pathlib import Path

import click

from halnet.batches import PhotoResult, find_photos, predict_photos
from halnet.commands.output import progress
from halnet.predictor import Predictor


@click.command("predict")
@click.argument("photos", type=Path, nargs=-1, required=True)
@click.option("--model", type=Path, help="Model file; default: the bundled one.")
@click.option("--runtime", default="auto", show_default=True, help="onnxruntime, pytorch or auto.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or auto.")
@click.option("--threads", type=click.IntRange(1), help="Of the runtime; default: all cores.")
@click.option("--detector", type=Path, help="Local YuNet file; else it is fetched once.")
@click.option("--min-face", default=0.0, show_default=True, help="Narrowest face, pixels.")
@click.option("--level", default=0.9, show_default=True, help="Rate at which the interval holds.")
@click.option("--draw", type=Path, help="Folder for copies with boxes and ages.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, an entry a photo.")
def command(
    photos: tuple[Path, ...],
    model: Path | None,
    runtime: str,
    device: str,
    threads: int | None,
    detector: Path | None,
    min_face: float,
    level: float,
    draw: Path | None,
    as_json: bool,
) -> int:
    """Print the ages of the faces in PHOTOS: files, or folders of JPEG, PNG, WebP and BMP.

    Exit status 1 if a photo is bad or has no face (the others are done), 2 if none can be read.
    """
    paths = find_photos(photos)
    predictor = Predictor(
        model, runtime=runtime, device=device, threads=threads, detector=detector, min_face=min_face
    )
    spec = predictor.spec
    # A bad level and a missing detector fail before the work.
    spec.metadata.calibration.interval(0.0, 1.0, level)
    _ = predictor.detector
    results: list[PhotoResult] = []
    with progress("photos", quiet=not as_json) as on_progress:
        for result in predict_photos(predictor, paths, draw, level):
            if not results:
                name = Path(spec.model).name
                click.echo(f"{name} on {spec.runtime} {spec.version}, {spec.provider}", err=True)
            results.append(result)
            on_progress(len(results), len(paths))
            if not as_json:
                _show(result, level)
    if as_json:
        click.echo(json.dumps([result.to_dict(level) for result in results]))
    if all(result.error for result in results):
        return 2
    return 0 if all(result.faces for result in results) else 1


def _show(result: PhotoResult, level: float) -> None:
    if result.error is not None:
        click.echo(f"halnet: {result.error}", err=True)
    elif not result.faces:
        click.echo(f"{result.photo}: no face found")
    for face in result.faces:
        low, high = face.interval(level)
        x, y, width, height = face.box
        click.echo(
            f"{result.photo}: {face.age:.1f} years, {level:.0%} interval {low:.1f} to {high:.1f}, "
            f"box {x:.0f} {y:.0f} {width:.0f} {height:.0f}"
        )
