"""Turned photos: errors and intervals if the raw test photos are turned, and what it costs.

    python -m halnet.benchmarks.studies.turned_photos --data data/aaf \\
        --photos "All-Age-Faces Dataset" --detector yunet.onnx

Each photo is turned clockwise by every 30 degrees. A quarter turn only moves the pixels. Any other
turn interpolates them and repeats those of the border around the photo. Of the faces that are
found, the one whose landmarks are nearest to those of the index counts.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.benchmarks.markdown import print_markdown
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record, exact_records
from halnet.faces.alignment import Landmarks, Matrix, roll
from halnet.faces.detected import DetectedFace, Detector
from halnet.faces.upright import UprightDetector
from halnet.faces.yunet import FaceDetector
from halnet.photos.images import Image, load_image
from halnet.predictor import Predictor
from halnet.results import Face

STEP = 30  # degrees
COLUMNS = (
    *("turned by, degrees", "photos", "without a face", "landmarks turned wrong"),
    *("MAE, years", "bias, years", "true ages inside the 90 % interval"),
)
RUNS = 5  # of each detector for each photo, in turns, to time it
WRONG = 20.0  # degrees: an error of the roll above it counts as wrong


@dataclass(frozen=True)
class Photo:
    """A raw photo with the age and the landmarks that the index states."""

    image: Image
    age: int  # years
    landmarks: NDArray[np.float64]  # 5 x 2, x and y in pixels


@click.command()
@click.option("--data", type=Path, required=True, help="Folder that halnet prepare wrote.")
@click.option("--photos", type=Path, required=True, help="Folder of the raw photos.")
@click.option("--detector", type=Path, help="Local YuNet file.")
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@click.option("--split", default="test", show_default=True, help="Part of the dataset.")
@click.option(
    "--limit", default=0, show_default=True, type=click.IntRange(0), help="0: all photos."
)
@click.option(
    "--angle",
    "angles",
    multiple=True,
    default=range(0, 360, STEP),
    type=int,
    help="Degrees to turn by. Repeat the option for several. Default: every 30 degrees.",
)
def main(
    data: Path,
    photos: Path,
    detector: Path | None,
    model: Path | None,
    split: str,
    limit: int,
    angles: Sequence[int],
) -> None:
    """Print a row for each turn, and what the search for the way up costs upright photos."""
    records = exact_records(PreparedDataset(data).select(split, limit))
    raw = [_load(photos, record) for record in records]
    predictor = Predictor(model, detector=detector)
    print_markdown(COLUMNS, [make_row(predictor, raw, angle) for angle in angles])
    seconds = time_upright(raw, detector)
    ratio = seconds[True] / seconds[False]
    click.echo(
        f"\nDetection of the upright photos took {1000 * seconds[True] / len(raw):.2f} ms a photo "
        f"with the search and {1000 * seconds[False] / len(raw):.2f} ms without it, which is "
        f"{ratio:.3f} times as long."
    )


def make_row(predictor: Predictor, photos: Sequence[Photo], angle: int) -> list[str]:
    """Return the cells for photos that are turned clockwise by `angle` degrees."""
    errors, inside, wrong = [], 0, 0
    for photo in photos:
        turned, matrix = turn(photo.image, angle)
        landmarks = photo.landmarks @ matrix[:, :2].T + matrix[:, 2]
        found = nearest(predictor.detect(turned), landmarks)
        if found is None:
            continue
        (face,) = predictor.predict_faces(turned, [found])
        wrong += abs(_angle_between(face, landmarks)) > WRONG
        errors.append(face.age - photo.age)
        low, high = face.interval(0.9)
        inside += low <= photo.age <= high
    count = len(errors)
    return [
        *(str(angle), str(len(photos)), str(len(photos) - count), str(wrong)),
        *(
            f"{np.abs(errors).mean():.2f}",
            f"{np.mean(errors):+.2f}",
            f"{100 * inside / count:.1f} %",
        ),
    ]


def turn(image: Image, angle: int) -> tuple[Image, Matrix]:
    """Return a photo turned clockwise, and the 2 x 3 matrix from its pixels to the new ones."""
    height, width = image.shape[:2]
    radians = math.radians(angle)
    cosine, sine = abs(math.cos(radians)), abs(math.sin(radians))
    size = (round(width * cosine + height * sine), round(width * sine + height * cosine))
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, -angle, 1.0), np.float64)
    matrix[:, 2] += (np.array(size) - 1) / 2 - centre
    if angle % 90 == 0:
        return np.ascontiguousarray(np.rot90(image, -angle // 90)), matrix
    turned = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8), matrix


def nearest(faces: Sequence[DetectedFace], landmarks: NDArray[np.float64]) -> DetectedFace | None:
    """Return the face at these landmarks; None without one within the distance of the eyes."""
    eyes = np.hypot(*(landmarks[1] - landmarks[0]))

    def distance(face: DetectedFace) -> float:
        return float(np.hypot(*(face.landmarks.mean(axis=0) - landmarks.mean(axis=0))))

    face = min(faces, key=distance, default=None)
    return face if face is not None and distance(face) <= eyes else None


def time_upright(photos: Sequence[Photo], detector: Path | None) -> dict[bool, float]:
    """Return the seconds to detect all photos with the search for the way up, and without it.

    The two take turns run by run. Each photo counts with the fastest of its runs.
    """
    plain = FaceDetector(detector)
    detectors: dict[bool, Detector] = {True: UprightDetector(plain), False: plain}
    seconds = dict.fromkeys(detectors, 0.0)
    for photo in photos:
        fastest = dict.fromkeys(detectors, math.inf)
        for _ in range(RUNS):
            for which, detect in detectors.items():
                start = time.perf_counter()
                detect(photo.image)
                fastest[which] = min(fastest[which], time.perf_counter() - start)
        for which, duration in fastest.items():
            seconds[which] += duration
    return seconds


def _load(folder: Path, record: Record) -> Photo:
    landmarks = np.array(record.landmarks, np.float64).reshape(5, 2)
    return Photo(load_image(folder / record.source), record.age, landmarks)


def _angle_between(face: Face, landmarks: NDArray[np.float64]) -> float:
    truth: Landmarks = landmarks.astype(np.float32)
    return (roll(face.landmarks) - roll(truth) + 180) % 360 - 180


if __name__ == "__main__":
    main()
