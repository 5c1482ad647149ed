"""Repeatability: how much the age of one photo differs between small changes of the photo.

    python -m halnet.benchmarks.studies.repeatability --data data/aaf \\
        --photos "All-Age-Faces Dataset" --detector yunet.onnx

Eight changes of each raw test photo go the whole way, with detection each time. None of them
changes how old the person looks. With `--flip`, each crop is averaged with its mirror image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.ages import Floats
from halnet.benchmarks.markdown import print_markdown
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.errors import ImageError
from halnet.evaluation.small_changes import SMALL_CHANGES
from halnet.faces.detected import DetectedFace
from halnet.photos.images import Image, load_image
from halnet.predictor import Predictor

SMALLER = 0.9  # factor of the width and of the height
COLUMNS = ("change", "mean shift, years", "95th percentile, years", "largest shift, years")


def make_smaller(photo: Image) -> Image:
    """Return a photo with fewer pixels."""
    size = [max(1, round(side * SMALLER)) for side in photo.shape[1::-1]]
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


CHANGES = {**SMALL_CHANGES, f"{1 - SMALLER:.0%} smaller": make_smaller}


@dataclass(frozen=True, eq=False)
class Repeated:
    """The ages of photos without a change and with each change; NaN without the same face."""

    unchanged: Floats  # N, years
    changed: Floats  # N x 8, years, in the order of CHANGES

    @property
    def is_complete(self) -> NDArray[np.bool_]:
        """Whether the face of a photo was found with and without each change, N values."""
        return np.isfinite(self.unchanged) & np.isfinite(self.changed).all(axis=1)

    @property
    def stddev(self) -> Floats:
        """The standard deviation of the ages of a photo with its eight changes, in years.

        It has a value for each complete photo. The divisor is one less than the number of changes.
        """
        return np.asarray(self.changed[self.is_complete].std(axis=1, ddof=1))

    def rows(self) -> list[list[str]]:
        """Return the cells of a table: how far each change moves the age of a complete photo."""
        complete = self.is_complete
        shifts = np.abs(self.changed[complete] - self.unchanged[complete, None])
        return [
            [name, f"{own.mean():.2f}", f"{np.percentile(own, 95):.2f}", f"{own.max():.2f}"]
            for name, own in zip(CHANGES, shifts.T, strict=True)
        ]


@click.command()
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--photos", type=Path, required=True, help="Folder of the raw photos.")
@click.option("--detector", type=Path, help="Local YuNet file.")
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@click.option("--split", default="test", show_default=True, help="Part of the dataset.")
@click.option(
    "--limit", default=200, show_default=True, type=click.IntRange(0), help="0: all photos."
)
@click.option("--flip", is_flag=True, help="Average each crop with its mirror image.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
def main(
    data: Path,
    photos: Path,
    detector: Path | None,
    model: Path | None,
    split: str,
    limit: int,
    flip: bool,
    threads: int,
) -> None:
    """Print the standard deviation of the ages of one photo, and what each change does."""
    records = PreparedDataset(data).select(split, limit)
    predictor = Predictor(model, detector=detector, flip=flip, threads=threads)
    found = repeat(predictor, photos, records)
    stddev = found.stddev
    if not len(stddev):
        raise ImageError(
            f"{photos}: expected photos of faces that are found with each change, found none of "
            f"{len(records)}; name the folder from which halnet prepare made {data}"
        )
    print_markdown(COLUMNS, found.rows())
    click.echo(
        f"\nStandard deviation of the ages of one photo over {len(CHANGES)} changes: median "
        f"{np.median(stddev):.2f} years, 95th percentile {np.percentile(stddev, 95):.2f} years "
        f"({len(stddev)} photos; in {len(records) - len(stddev)} others, the face was not found "
        "each time)."
    )


def repeat(predictor: Predictor, folder: Path, records: Sequence[Record]) -> Repeated:
    """Return the ages of the raw photos in a folder, without and with each change."""
    ages = np.array([_ages(predictor, load_image(folder / record.source)) for record in records])
    ages = ages.reshape(len(records), 1 + len(CHANGES))
    return Repeated(ages[:, 0], ages[:, 1:])


def _ages(predictor: Predictor, photo: Image) -> list[float]:
    """Return the age of the largest face without a change, and of this face with each change."""
    faces = predictor.detect(photo)
    if not faces:
        return [float("nan")] * (1 + len(CHANGES))
    places = faces[0].landmarks / photo.shape[1::-1]  # shares of the width and the height
    ages = [predictor.predict_faces(photo, faces[:1])[0].age]
    for change in CHANGES.values():
        changed = change(photo)
        face = find_same(predictor.detect(changed), places * changed.shape[1::-1])
        if face is None:
            ages.append(float("nan"))
        else:
            ages.append(predictor.predict_faces(changed, [face])[0].age)
    return ages


def find_same(faces: Sequence[DetectedFace], landmarks: Floats) -> DetectedFace | None:
    """Return the face nearest to these landmarks, 5 x 2; None if its eyes are far from theirs.

    Far is more than half of the distance of the eyes.
    """

    def distance(face: DetectedFace) -> float:
        return float(np.hypot(*(face.landmarks[:2] - landmarks[:2]).T).max())

    face = min(faces, key=distance, default=None)
    limit = 0.5 * float(np.hypot(*(landmarks[1] - landmarks[0])))
    return face if face is not None and distance(face) <= limit else None


if __name__ == "__main__":
    main()
