"""Several photos: how far the ages of one person's photos differ, and which of them to average.

    python -m halnet.benchmarks.studies.several_photos --detector yunet.onnx \\
        --data data/aaf --photos "All-Age-Faces Dataset" \\
        --data data/utkface --photos UTKFace --data data/afad --photos AFAD

The datasets do not say which photos show the same person. Sixteen strong changes of each raw photo
stand for the frames of a video: each goes the whole way, with detection, and only those that a
check would use count. Two people stand for a video in which the person changes: half of the changed
photos are of one, half of the other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from halnet.ages import LEGAL_AGE, Floats
from halnet.benchmarks.markdown import print_markdown
from halnet.benchmarks.studies.repeatability import find_same
from halnet.checks.policy import MARGIN, MAX_SPREAD
from halnet.checks.reasons import find_reasons, interval_width
from halnet.datasets.prepared_dataset import PreparedDataset
from halnet.datasets.record import Record
from halnet.errors import ConfigError, ImageError
from halnet.faces.alignment import Matrix
from halnet.faces.quality import Quality
from halnet.photos.images import Image, load_image
from halnet.predictor import Predictor
from halnet.results import Face

FEWEST = 4  # changed photos of a person that a check would use; people with fewer are left out
PAIRS = 4000  # of two people
GAPS = (0, 5, 10, 15, 20, 100)  # years: bounds of the bands of differences between two people
SPREAD_COLUMNS = ("photos", "median", "95th percentile", "99th percentile", "largest")
PAIR_COLUMNS = ("people", "pairs", "refused, standard deviation above the limit")
HALF_COLUMNS = (
    *("averaged", "mean distance to the unchanged photo, years", "MAE, years"),
    "change of the MAE, with its standard error",
)
MIRRORED = (1, 0, 2, 4, 3)  # the order of the landmarks in a mirror image
SAME: Matrix = np.array([[1, 0, 0], [0, 1, 0]], np.float64)

# A change takes a photo and the distance of the eyes in pixels. It returns the changed photo, and
# the 2 x 3 matrix from the pixels of the photo to those of the changed one.
Change = Callable[[Image, float], tuple[Image, Matrix]]


def warp(matrix: Sequence[Sequence[float]]) -> Change:
    """Return a change that moves places by a 2 x 2 matrix about the centre of the photo."""

    def change(photo: Image, eyes: float) -> tuple[Image, Matrix]:
        size, part = photo.shape[1::-1], np.array(matrix, np.float64)
        centre = np.array(size) / 2
        whole = np.column_stack([part, centre - part @ centre])
        moved = cv2.warpAffine(photo, whole, size, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8), whole

    return change


def turn(degrees: float) -> Change:
    """Return a change that turns the photo clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return warp([[cos, -sin], [sin, cos]])


def shrink(factor: float) -> Change:
    """Return a change that makes the photo smaller."""

    def change(photo: Image, eyes: float) -> tuple[Image, Matrix]:
        size = [max(1, round(side * factor)) for side in photo.shape[1::-1]]
        smaller = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        return np.asarray(smaller, np.uint8), SAME * factor

    return change


def values(function: Callable[[Floats, float], Floats]) -> Change:
    """Return a change of the values of the pixels; what is brighter than white is white."""

    def change(photo: Image, eyes: float) -> tuple[Image, Matrix]:
        changed = function(photo.astype(np.float32), eyes)
        return np.clip(changed, 0, 255).astype(np.uint8), SAME

    return change


def mirror(photo: Image, eyes: float) -> tuple[Image, Matrix]:
    """Return the mirror image."""
    matrix = np.array([[-1, 0, photo.shape[1] - 1], [0, 1, 0]], np.float64)
    return np.ascontiguousarray(photo[:, ::-1]), matrix


def blur(photo: Floats, eyes: float) -> Floats:
    """Return a photo that is out of focus: 2.5 pixels of the crop."""
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.045 * eyes))


def shake(photo: Floats, eyes: float) -> Floats:
    """Return a photo that moved to the side: 8 pixels of the crop."""
    side = max(3, int(0.15 * eyes) | 1)
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2] = 1 / side
    return np.asarray(cv2.filter2D(photo, -1, kernel))


def light_from_the_right(photo: Floats, eyes: float) -> Floats:
    """Return a photo with 0.35 times the light at the left and 1.25 times at the right."""
    return np.asarray(photo * np.linspace(0.35, 1.25, photo.shape[1], dtype=np.float32)[:, None])


def compress(photo: Floats, eyes: float) -> Floats:
    """Return a photo that was written as a JPEG file of low quality and read again."""
    data = cv2.imencode(".jpg", photo[..., ::-1].astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 15])[
        1
    ]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.float32)


def add_noise(photo: Floats, eyes: float) -> Floats:
    """Return a photo with normal noise."""
    return np.asarray(photo + np.random.default_rng(0).normal(0, 18, photo.shape))


CHANGES: dict[str, Change] = {
    "turned by 12 degrees": turn(12),
    "turned by -12 degrees": turn(-12),
    "15 % narrower": warp([[0.85, 0], [0, 1]]),
    "12 % lower": warp([[1, 0], [0, 0.88]]),
    "sheared": warp([[1, 0.12], [0, 1]]),
    "half as large": shrink(0.5),
    "a third as large": shrink(0.33),
    "out of focus": values(blur),
    "shaken": values(shake),
    "0.35 times the light": values(lambda photo, eyes: photo * 0.35),
    "1.6 times the light": values(lambda photo, eyes: photo * 1.6),
    "light from the right": values(light_from_the_right),
    "JPEG quality 15": values(compress),
    "noise": values(add_noise),
    "mirror image": mirror,
    "warm light": values(lambda photo, eyes: photo * np.array([1.15, 1, 0.75], np.float32)),
}


Usable = tuple[Quality, Face]  # a face that a check would use, with its numbers


# What the best half of a person's photos can be chosen by; the photos with the largest are best.
NUMBERS: dict[str, Callable[[Quality, Face], float]] = {
    "with the narrowest intervals": lambda quality, face: -interval_width(quality, face),
    "with the largest faces": lambda quality, face: quality.eye_distance,
    "with the sharpest faces": lambda quality, face: quality.sharpness,
    "of which the detector is surest": lambda quality, face: quality.score,
    "with the least yaw": lambda quality, face: -abs(quality.yaw),
}


@dataclass(frozen=True, eq=False)
class Changed:
    """People, each with the ages of one photo and of its changes.

    An age is NaN if a check would not use the photo. Each person has FEWEST changed photos or more.
    """

    truth: Floats  # N, years
    unchanged: Floats  # N, years
    ages: Floats  # N x 16, years, in the order of CHANGES
    numbers: dict[str, Floats]  # N x 16 each, by the names of NUMBERS

    @property
    def spread(self) -> Floats:
        """The standard deviation of the ages of each person, N years."""
        return np.asarray(np.nanstd(self.ages, axis=1))


@click.command()
@click.option("--data", type=Path, multiple=True, required=True, help="Prepared dataset; repeat.")
@click.option("--photos", type=Path, multiple=True, help="Folder of its raw photos; repeat.")
@click.option("--detector", type=Path, help="Local YuNet file.")
@click.option("--model", type=Path, help="Model file. Default: the one that comes with halnet.")
@click.option("--split", default="val", show_default=True, help="Part of the datasets.")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(0),
    help="Photos of a dataset. 0: all.",
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
def main(
    data: Sequence[Path],
    photos: Sequence[Path],
    detector: Path | None,
    model: Path | None,
    split: str,
    limit: int,
    threads: int,
) -> None:
    """Print the spread of the ages of one person and of two, and what the best half gains."""
    if len(data) != len(photos):
        raise ConfigError(
            f"expected a folder --photos for each --data, found {len(photos)} for {len(data)}"
        )
    predictor = Predictor(model, detector=detector, threads=threads, quality=True)
    found = measure(
        predictor,
        [
            (folder, record)
            for root, folder in zip(data, photos, strict=True)
            for record in PreparedDataset(root).select(split, limit)
            if record.is_exact
        ],
    )
    spread = found.spread
    click.echo("## Standard deviation of the ages of one person, years\n")
    numbers = [*np.percentile(spread, [50, 95, 99, 100])]
    print_markdown(SPREAD_COLUMNS, [[str(len(spread)), *(f"{value:.2f}" for value in numbers)]])
    click.echo(f"\nAbove {MAX_SPREAD:g} years: {(spread > MAX_SPREAD).sum()} photos.")
    click.echo("\n## Two people, half of the photos of each\n")
    print_markdown(PAIR_COLUMNS, compare_pairs(found, MAX_SPREAD))
    click.echo("\n## The best half of the photos of each person\n")
    print_markdown(HALF_COLUMNS, compare_halves(found))


def measure(predictor: Predictor, photos: Sequence[tuple[Path, Record]]) -> Changed:
    """Return the people of raw photos, each with its folder, whom a check could use.

    Raises ImageError if there are fewer than two people.
    """
    rows = []
    for folder, record in photos:
        faces = find_faces(predictor, load_image(folder / record.source))
        if faces[0] is not None and sum(face is not None for face in faces[1:]) >= FEWEST:
            rows.append((float(record.age), faces))
    if len(rows) < 2:
        raise ImageError(
            f"raw photos: expected two people or more whose faces are found, found {len(rows)} in "
            f"{len(photos)} photos; name the folders from which halnet prepare made the datasets"
        )

    def collect(number: Callable[[Quality, Face], float]) -> Floats:
        return np.array(
            [[math.nan if face is None else number(*face) for face in faces] for _, faces in rows]
        )

    ages = collect(lambda quality, face: face.age)
    return Changed(
        np.array([truth for truth, _ in rows]),
        ages[:, 0],
        ages[:, 1:],
        {name: collect(number)[:, 1:] for name, number in NUMBERS.items()},
    )


def find_faces(predictor: Predictor, photo: Image) -> list[Usable | None]:
    """Return the largest face of a photo, and this face after each change.

    It is None where it is not found or where a check would not use it.
    """
    faces = predictor.detect(photo)
    if not faces:
        return [None] * (1 + len(CHANGES))
    places = faces[0].landmarks
    eyes = float(np.hypot(*(places[1] - places[0])))
    found = [_use(predictor, photo, places)]
    for change in CHANGES.values():
        changed, matrix = change(photo, eyes)
        moved = places @ matrix[:, :2].T + matrix[:, 2]
        found.append(_use(predictor, changed, moved[list(MIRRORED)] if change is mirror else moved))
    return found


def _use(predictor: Predictor, photo: Image, landmarks: Floats) -> Usable | None:
    """Return the face with about these landmarks, or None if a check would not use it."""
    same = find_same(predictor.detect(photo), landmarks)
    if same is None:
        return None
    (face,) = predictor.predict_faces(photo, [same])
    if face.quality is None or find_reasons(face.quality, face):
        return None
    return face.quality, face


def compare_pairs(found: Changed, limit: float) -> list[list[str]]:
    """Return the cells of a table: how many pairs of people have a spread above the limit.

    `limit` is in years. Each pair has as many photos of the one as of the other, drawn at random.
    """
    rng = np.random.default_rng(0)
    gaps, spreads, means, youngest = np.array(
        [_mix(found, rng) for _ in range(PAIRS)], np.float64
    ).T
    rows = [
        (f"predicted ages {low} to {high} years apart", (gaps >= low) & (gaps < high))
        for low, high in pairwise(GAPS)
    ]
    passing = (youngest < LEGAL_AGE) & (means >= LEGAL_AGE + MARGIN)
    name = f"one predicted under {LEGAL_AGE}, both together {LEGAL_AGE + MARGIN} or older"
    return [_share_row(name, spreads[who] > limit) for name, who in [*rows, (name, passing)]]


def _mix(found: Changed, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Return of two people: difference of ages, spread, mean age and the younger one's age."""
    pair = rng.choice(len(found.ages), 2, replace=False)
    ages = [found.ages[i][np.isfinite(found.ages[i])] for i in pair]
    size = min(map(len, ages))
    mixed = np.concatenate([rng.choice(own, size, replace=False) for own in ages])
    first, second = found.unchanged[pair]
    return abs(first - second), mixed.std(), mixed.mean(), min(first, second)


def _share_row(name: str, chosen: NDArray[np.bool_]) -> list[str]:
    return [name, str(len(chosen)), f"{chosen.mean():.0%}" if len(chosen) else "none"]


def compare_halves(found: Changed) -> list[list[str]]:
    """Return the cells of a table: all photos of each person, and the best half by each number."""
    mean = np.nanmean(found.ages, axis=1)
    errors = np.abs(mean - found.truth)
    rows = [["all photos", f"{_distance(found, mean):.2f}", f"{errors.mean():.2f}", ""]]
    for name, numbers in found.numbers.items():
        best = np.array([_best_mean(*row) for row in zip(found.ages, numbers, strict=True)])
        change = np.abs(best - found.truth) - errors
        error = change.std() / math.sqrt(len(change))
        rows.append(
            [
                *(f"the half {name}", f"{_distance(found, best):.2f}"),
                *(
                    f"{np.abs(best - found.truth).mean():.2f}",
                    f"{change.mean():+.2f} ({error:.2f})",
                ),
            ]
        )
    return rows


def _distance(found: Changed, ages: Floats) -> float:
    return float(np.abs(ages - found.unchanged).mean())


def _best_mean(ages: Floats, numbers: Floats) -> float:
    """Return the mean age of the half of the photos with the largest numbers, rounded up."""
    usable = np.isfinite(ages)
    order = np.argsort(-numbers[usable], kind="stable")
    return float(ages[usable][order[: math.ceil(len(order) / 2)]].mean())


if __name__ == "__main__":
    main()
