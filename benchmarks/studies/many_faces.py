"""Many faces: how the ages of small faces in a large photo differ from those of each photo alone.

    python -m halnet.benchmarks.studies.many_faces --data data/aaf \\
        --photos "All-Age-Faces Dataset" --detector yunet.onnx

The raw photos of a split are put beside each other into squares of N x N photos. The detector sees
such a photo with a longer side of 640 pixels, so that the more photos it has, the smaller their
faces are there. Crops are made from all pixels. With `--look SIDE`, the landmarks of each face are
found again in a picture of so many pixels around the face alone, which halnet does not do.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.benchmarks.markdown import print_markdown
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import exact_records
from halnet.faces.alignment import Landmarks, align
from halnet.faces.detected import DETECTION_SIDE, DetectedFace
from halnet.faces.yunet import FaceDetector
from halnet.photos.images import Image, load_image
from halnet.predictor import Predictor

TILE = (320, 340)  # pixels: width and height of a photo in a square
GRAY = 110  # around photos of another shape
SIGHT = 2.6  # longer sides of the box that a look shows
COLUMNS = (
    *("photos in a square", "width of a face for the detector, pixels", "faces found"),
    *("difference of an age, median, years", "99th percentile, years"),
    *("MAE, years", "MAE of each photo alone, years"),
)


@click.command()
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--photos", type=Path, required=True, help="Folder of the raw photos.")
@click.option("--detector", type=Path, help="Local YuNet file.")
@click.option("--split", default="val", show_default=True, help="Part of the dataset.")
@click.option("--look", default=0, type=click.IntRange(0), help="Pixels of a second look. 0: none.")
@click.option("--side", "sides", multiple=True, type=int, default=(3, 4, 6, 8, 12), help="N.")
def main(
    data: Path, photos: Path, detector: Path | None, split: str, look: int, sides: Sequence[int]
) -> None:
    """Print a row for each number of photos in a square, as a Markdown table."""
    records = exact_records(PreparedDataset(data).select(split))
    predictor, yunet = Predictor(detector=detector), FaceDetector(detector)
    tiles = [_to_tile(load_image(photos / record.source)) for record in records]
    found = [predictor.detect(tile) for tile in tiles]
    shown = [i for i, faces in enumerate(found) if faces]
    tiles, ages = [tiles[i] for i in shown], np.array([records[i].age for i in shown])
    alone = predict(predictor, tiles, [found[i][0].landmarks for i in shown])
    order = np.random.default_rng(0).permutation(len(tiles))
    rows = []
    for side in sides:
        small: dict[int, float] = {}
        widths: list[float] = []
        for square, places in squares(tiles, order, side):
            for index, face in places(predictor.detect(square)).items():
                landmarks = look_again(yunet, square, face, look) if look else face.landmarks
                small[index] = predict(predictor, [square], [landmarks])[0]
                widths.append(face.box[2] * DETECTION_SIDE / max(square.shape))
        kept = sorted(small)
        values = np.array([small[i] for i in kept])
        difference = abs(values - alone[kept])
        numbers = (np.median(difference), np.percentile(difference, 99))
        errors = (abs(values - ages[kept]).mean(), abs(alone[kept] - ages[kept]).mean())
        rows.append(
            [
                f"{side} x {side}",
                f"{np.median(widths):.0f}",
                f"{len(kept)} of {len(tiles)}",
                *(f"{number:.2f}" for number in (*numbers, *errors)),
            ]
        )
    print_markdown(COLUMNS, rows)


def predict(
    predictor: Predictor, images: Sequence[Image], landmarks: Sequence[Landmarks]
) -> NDArray[np.float64]:
    """Return the age of one face in each image, N float64 years."""
    crops = np.stack([align(*pair) for pair in zip(images, landmarks, strict=True)])
    return predictor.predict_crops(crops).age.astype(np.float64)


Places = Callable[[Sequence[DetectedFace]], dict[int, DetectedFace]]


def squares(
    tiles: Sequence[Image], order: NDArray[np.int64], side: int
) -> Iterator[tuple[Image, Places]]:
    """Yield squares of all tiles, and what finds the face of each tile in them, by its index.

    The last square is filled up with tiles of the first one.
    """
    width, height = TILE
    for start in range(0, len(order), side**2):
        part = np.resize(np.r_[order[start : start + side**2], order], side**2)
        rows = [np.hstack([tiles[i] for i in row]) for row in part.reshape(side, side)]

        def find(
            faces: Sequence[DetectedFace], part: NDArray[np.int64] = part
        ) -> dict[int, DetectedFace]:
            found: dict[int, DetectedFace] = {}
            for face in faces:  # the largest first
                x, y, across, down = face.box
                column, row = int((x + across / 2) // width), int((y + down / 2) // height)
                found.setdefault(int(part[row * side + column]), face)
            return found

        yield np.vstack(rows), find


def look_again(yunet: FaceDetector, photo: Image, face: DetectedFace, side: int) -> Landmarks:
    """Return the landmarks of a face, found in a picture around it whose longer side is `side`.

    They are those of the face itself if none is found in the middle of the picture.
    """
    x, y, width, height = face.box
    reach, middle = SIGHT / 2 * max(width, height), np.array([x + width / 2, y + height / 2])
    corner = np.maximum(middle - reach, 0).astype(int)
    end = np.minimum(middle + reach, photo.shape[1::-1]).astype(int)
    part = photo[corner[1] : end[1], corner[0] : end[0]]
    size = np.maximum(np.array(part.shape[1::-1]) * side // max(part.shape[:2]), 1)
    small = np.asarray(cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA), np.uint8)
    factors = np.divide(part.shape[1::-1], size)
    seen = [other.scaled(*factors) for other in yunet(small)]
    for other in sorted(seen, key=lambda other: -other.score):
        place = np.array(other.box[:2]) + np.array(other.box[2:]) / 2 + corner
        if (abs(place - middle) < reach / 2.5).all():
            return np.asarray(other.landmarks + corner, np.float32)
    return face.landmarks


def _to_tile(photo: Image) -> Image:
    """Return a photo in the middle of a tile, made smaller if it is too large."""
    factor = min(1.0, *np.divide(TILE, photo.shape[1::-1]))
    size = [max(1, int(side * factor)) for side in photo.shape[1::-1]]
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA) if factor < 1 else photo
    tile = np.full((TILE[1], TILE[0], 3), GRAY, np.uint8)
    top, left = (TILE[1] - size[1]) // 2, (TILE[0] - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return tile


if __name__ == "__main__":
    main()
