"""`halnet predict`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from halnet.commands.output import progress
from halnet.errors import ConfigError, ImageError
from halnet.images import SUFFIXES, load_image
from halnet.predictor import Predictor
from halnet.results import Face


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
    paths = list(_expand(photos))
    drawings = _drawing_paths(paths, draw) if draw else {}
    predictor = Predictor(
        model,
        runtime=runtime,
        device=device,
        threads=threads,
        detector=detector,
        min_face=min_face,
    )
    spec = predictor.spec
    # A bad level and a missing detector fail before the work.
    spec.metadata.calibration.interval(0.0, 1.0, level)
    _ = predictor.detector
    click.echo(
        f"{Path(spec.model).name} on {spec.runtime} {spec.version}, {spec.provider}", err=True
    )
    if as_json:
        with progress("photos") as on_progress:
            entries = []
            for done, path in enumerate(paths, 1):
                entries.append(_predict(predictor, path, level, drawings.get(path)))
                on_progress(done, len(paths))
        click.echo(json.dumps(entries))
    else:
        entries = [_show(_predict(predictor, path, level, drawings.get(path))) for path in paths]
    unread = sum("error" in entry for entry in entries)
    if unread == len(entries):
        return 2
    return 1 if unread or not all(entry["faces"] for entry in entries) else 0


def _expand(photos: tuple[Path, ...]) -> Iterator[Path]:
    """Yield files as they are, and the images of folders by name, with their subfolders'."""
    for path in photos:
        if not path.is_dir():
            yield path
            continue
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise ConfigError(f"{path}: no photos in this folder ({', '.join(sorted(SUFFIXES))})")
        yield from found


def _drawing_paths(paths: list[Path], folder: Path) -> dict[Path, Path]:
    """Return where the copy of each photo goes: its place below the photos' common folder."""
    common = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    targets = {}
    for path in paths:
        place = folder / path.absolute().relative_to(common)
        is_jpeg = place.suffix.lower() in (".jpg", ".jpeg")
        targets[path] = place if is_jpeg else place.with_name(place.name + ".jpg")
        if targets[path].absolute() == path.absolute():
            raise ConfigError(f"--draw {folder}: would write over {path}; name another folder")
    return targets


def _predict(
    predictor: Predictor, path: Path, level: float, drawing: Path | None
) -> dict[str, Any]:
    try:
        image = load_image(path)
    except ImageError as error:
        return {"photo": str(path), "error": str(error), "faces": []}
    faces = predictor.predict_faces(image, predictor.detect(image))
    if drawing is not None:
        _draw(drawing, image, faces, level)
    return {"photo": str(path), "faces": [face.to_dict(level) for face in faces]}


def _draw(path: Path, image: Any, faces: list[Face], level: float) -> None:
    import cv2

    from halnet.drawing import draw_faces
    from halnet.files import replacing

    bgr = cv2.cvtColor(draw_faces(image, faces, level), cv2.COLOR_RGB2BGR)
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".jpg", bgr)[1].tobytes())


def _show(entry: dict[str, Any]) -> dict[str, Any]:
    """Print the lines of one photo; return its entry."""
    if "error" in entry:
        click.echo(f"halnet: {entry['error']}", err=True)
    elif not entry["faces"]:
        click.echo(f"{entry['photo']}: no face found")
    for face in entry["faces"]:
        low, high = face["interval"]
        x, y, width, height = face["box"]
        click.echo(
            f"{entry['photo']}: {face['age']:.1f} years, {face['level']:.0%} interval "
            f"{low:.1f} to {high:.1f}, box {x:.0f} {y:.0f} {width:.0f} {height:.0f}"
        )
    return entry
