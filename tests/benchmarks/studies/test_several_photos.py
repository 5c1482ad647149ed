import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from halnet.benchmarks.samples import portrait
from halnet.benchmarks.studies import several_photos
from halnet.benchmarks.studies.several_photos import (
    CHANGES,
    NUMBERS,
    Changed,
    compare_halves,
    compare_pairs,
    find_faces,
    measure,
)
from halnet.errors import ConfigError, ImageError
from halnet.faces.detected import DetectedFace
from halnet.predictor import Predictor
from halnet.runtimes.fake import FakeRuntime

PHOTO = np.random.default_rng(0).integers(20, 160, (60, 50, 3)).astype(np.uint8)
MOVING = [
    *("turned by 12 degrees", "turned by -12 degrees", "15 % narrower", "12 % lower", "sheared"),
    *("half as large", "a third as large", "mirror image"),
]


@pytest.mark.parametrize("name", MOVING)
def test_the_matrix_of_a_change_says_where_a_place_goes(name: str) -> None:
    photo = np.zeros((180, 240, 3), np.uint8)
    cv2.circle(photo, (150, 60), 6, (255, 255, 255), -1)
    changed, matrix = CHANGES[name](photo, 40.0)
    weights = changed[..., 0].astype(float)
    y, x = (
        np.average(part, weights=weights) for part in np.mgrid[: len(weights), : weights.shape[1]]
    )
    expected = matrix @ [150, 60, 1]
    assert (x, y) == pytest.approx(tuple(expected), abs=0.5)
    assert math.dist(expected, (150, 60)) > 3


def test_the_other_changes() -> None:
    assert len(CHANGES) == 16
    for name, (change, ratio) in {
        name: (CHANGES[name], ratio)
        for name, ratio in (("0.35 times the light", 0.35), ("1.6 times the light", 1.6))
    }.items():
        changed, matrix = change(PHOTO, 20.0)
        assert changed.mean() == pytest.approx(ratio * PHOTO.mean(), rel=0.02), name
        assert matrix.tolist() == [[1, 0, 0], [0, 1, 0]]
    warm = CHANGES["warm light"](PHOTO, 20.0)[0].mean((0, 1)) / PHOTO.mean((0, 1))
    assert warm == pytest.approx([1.15, 1, 0.75], abs=0.02)
    side = CHANGES["light from the right"](PHOTO, 20.0)[0].astype(float) / PHOTO
    assert side[:, 0].mean() == pytest.approx(0.35, abs=0.02)
    assert side[:, -1].mean() == pytest.approx(1.25, abs=0.02)
    noise, _ = CHANGES["noise"](np.full((90, 90, 3), 128, np.uint8), 20.0)
    assert noise.std() == pytest.approx(18, abs=0.5)
    red = np.full((64, 64, 3), (200, 40, 90), np.uint8)  # the order of the colours is kept
    assert CHANGES["JPEG quality 15"](red, 20.0)[0].mean((0, 1)) == pytest.approx(
        (200, 40, 90), abs=9
    )
    for name in ("out of focus", "shaken"):
        assert CHANGES[name](PHOTO, 40.0)[0].std() < 0.6 * PHOTO.std()


def people(*ages: float) -> Changed:
    """People whose sixteen photos are 1 year younger and older than the first by turns."""
    first = np.array(ages)
    changed = first[:, None] + np.tile([-1.0, 1.0], 8)
    changed[:, 10:] = np.nan  # a check would not use them
    numbers = {"best": np.tile([0.0, 1.0], (len(ages), 8)), "even": np.zeros((len(ages), 16))}
    return Changed(first + 0.5, first, changed, numbers)


def test_the_spread_leaves_out_what_a_check_would_not_use() -> None:
    found = people(20, 40)
    found.ages[1, :3] = 40
    assert found.spread == pytest.approx([1, math.sqrt(0.69)])


def test_two_people_are_refused_by_their_difference() -> None:
    rows = compare_pairs(people(10, 24, 26), 7.0)
    assert [row[1:] for row in rows[:4]] == [
        [rows[0][1], "0%"],  # 24 and 26: a spread of about 1.4 years
        ["0", "none"],
        [rows[2][1], "100%"],  # 10 and 24: a spread of about 7.1 years
        [rows[3][1], "100%"],
    ]
    assert sum(int(row[1]) for row in rows[:5]) == several_photos.PAIRS
    assert rows[5][0] == "one predicted under 18, both together 25 or older"
    assert rows[5][1:] == ["0", "none"]  # 10 and 26 are 18 years old together
    assert compare_pairs(people(10, 44), 7.0)[5][1:] == [str(several_photos.PAIRS), "100%"]


def test_the_best_half_is_chosen_by_the_largest_numbers() -> None:
    """The true age is half a year more than that of the unchanged photo."""
    every, best, even = compare_halves(people(20, 40))
    assert every == ["all photos", "0.00", "0.50", ""]
    assert best == ["the half best", "1.00", "0.50", "+0.00 (0.00)"]  # all of them a year older
    assert even[:2] == ["the half even", "0.20"]  # the first five of ten: three are younger
    assert even[2:] == ["0.70", "+0.20 (0.00)"]


def detect(photo: np.ndarray) -> list[DetectedFace]:
    return [portrait()[1]] if photo.shape == (512, 512, 3) else []


def test_a_face_is_followed_through_the_changes() -> None:
    """A detector that always finds the face in one place finds it in few of the changed photos."""
    predictor = Predictor(FakeRuntime(), detector=detect, quality=True)
    photo = portrait()[0]
    first, *faces = find_faces(predictor, photo)
    assert first is not None
    quality, face = first
    assert (face.age, face.quality) == (predictor(photo)[0].age, quality)
    found = dict(zip(CHANGES, faces, strict=True))
    assert found["half as large"] is None
    assert found["noise"] is not None
    dark = found["0.35 times the light"]
    assert dark is not None
    assert dark[1].age == pytest.approx(0.35 * face.age, rel=0.05)
    assert dark[0].brightness == pytest.approx(0.35 * quality.brightness, rel=0.05)
    assert find_faces(predictor, photo[:100]) == [None] * 17


def test_the_numbers_are_larger_for_better_photos() -> None:
    predictor = Predictor(FakeRuntime(), detector=detect, quality=True)
    (face,) = predictor(portrait()[0])
    low, high = face.interval(0.9)
    values = {name: number(face.quality, face) for name, number in NUMBERS.items()}
    assert list(values.values()) == [
        low - high,
        face.quality.eye_distance,
        face.quality.sharpness,
        face.score,
        -abs(face.quality.yaw),
    ]


def test_photos_without_faces_are_one_clear_error() -> None:
    with pytest.raises(ImageError, match="expected two people or more .* found 0 in 0 photos"):
        measure(Predictor(FakeRuntime(), detector=detect, quality=True), [])


def test_the_command_on_real_photos(aaf: Path, aaf_prepared: Path, yunet: Path) -> None:
    args = ["--data", aaf_prepared, "--photos", aaf, "--detector", yunet, "--split", "train"]
    done = CliRunner().invoke(
        several_photos.main, [*map(str, args), "--limit", "4"], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "| 4 |" in done.output
    assert "| all photos |" in done.output
    with pytest.raises(ConfigError, match="a folder --photos for each --data, found 0 for 1"):
        CliRunner().invoke(
            several_photos.main, ["--data", str(aaf_prepared)], catch_exceptions=False
        )
