"""Batches: files and folders of photos through a predictor; the good done, the bad listed."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from halnet.drawing import draw_faces
from halnet.errors import ConfigError, ImageError
from halnet.files import replacing
from halnet.images import SUFFIXES, Image, load_image
from halnet.predictor import Predictor
from halnet.results import Face


@dataclass(frozen=True, eq=False)
class PhotoResult:
    """What became of one photo."""

    photo: Path
    faces: list[Face]  # largest first; none where there is no face, or an error
    error: str | None = None  # why the photo could not be read

    def to_dict(self, level: float) -> dict[str, Any]:
        """Return JSON-ready values, intervals at `level`."""
        error = {} if self.error is None else {"error": self.error}
        faces = [face.to_dict(level) for face in self.faces]
        return {"photo": str(self.photo), **error, "faces": faces}


def find_photos(paths: Iterable[Path]) -> list[Path]:
    """Return files as they are, and the images of folders by name, their subfolders' too.

    Raises ConfigError for a folder without any.
    """
    photos: list[Path] = []
    for path in paths:
        if not path.is_dir():
            photos.append(path)
            continue
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise ConfigError(f"{path}: no photos in this folder ({', '.join(sorted(SUFFIXES))})")
        photos += found
    return photos


def predict_photos(
    predictor: Predictor, photos: Sequence[Path], draw: Path | None = None, level: float = 0.9
) -> Iterator[PhotoResult]:
    """Yield the result of each photo in turn; with `draw`, write copies with boxes and ages there.

    A copy lies where its photo lies below the photos' common folder. Raises ConfigError before any
    work where a copy would take the place of a photo or of another copy.
    """
    copies = _plan_copies(photos, draw) if draw else {}
    for photo in photos:
        try:
            image = load_image(photo)
        except ImageError as error:
            yield PhotoResult(photo, [], str(error))
            continue
        faces = predictor.predict_faces(image, predictor.detect(image))
        if photo in copies:
            _write_jpeg(copies[photo], draw_faces(image, faces, level))
        yield PhotoResult(photo, faces)


def _plan_copies(photos: Sequence[Path], folder: Path) -> dict[Path, Path]:
    common = Path(os.path.commonpath([photo.absolute().parent for photo in photos]))
    taken = {photo.resolve() for photo in photos}
    copies = {}
    for photo in photos:
        copy = folder / photo.absolute().relative_to(common)
        if copy.suffix.lower() not in (".jpg", ".jpeg"):
            copy = copy.with_name(copy.name + ".jpg")
        if copy.resolve() in taken and photo not in copies:
            raise ConfigError(
                f"{copy}: the copy of {photo} would be written over another photo; "
                "name another folder for the copies"
            )
        taken.add(copy.resolve())
        copies[photo] = copy
    return copies


def _write_jpeg(path: Path, image: Image) -> None:
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
