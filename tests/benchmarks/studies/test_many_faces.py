"""The study of many faces: which tile a face belongs to, and the second look at a face."""

from typing import Any

import numpy as np
import pytest

from halnet.benchmarks.studies.many_faces import TILE, look_again, squares
from halnet.faces.detected import DetectedFace
from halnet.photos.images import Image

PLACES = np.array([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]], np.float32)


def face(x: float, y: float, size: float = 40.0, score: float = 0.9) -> DetectedFace:
    landmarks = PLACES * (size / 40) + np.array([x, y], np.float32)
    return DetectedFace((x, y, size, size), landmarks, score)


def test_each_tile_is_in_a_square_and_has_its_own_largest_face() -> None:
    width, height = TILE
    tiles = [np.full((height, width, 3), 10 * i, np.uint8) for i in range(6)]
    order = np.array([5, 3, 1, 0, 2, 4])
    found = list(squares(tiles, order, 2))
    first, second = (square for square, _ in found)
    assert first.shape == (2 * height, 2 * width, 3)
    assert [int(first[y, x, 0]) for y in (0, height) for x in (0, width)] == [50, 30, 10, 0]
    # Filled up with tiles of the first square.
    assert [int(second[y, x, 0]) for y in (0, height) for x in (0, width)] == [20, 40, 50, 30]
    large, small = face(width + 20, 10, 100), face(width + 200, 200)
    other = face(30, height + 50)
    assert found[0][1]([large, small, other]) == {3: large, 1: other}


def test_a_second_look_shows_the_part_around_the_face_and_moves_places_back() -> None:
    photo = np.zeros((400, 600, 3), np.uint8)
    photo[100:140, 300:340] = 255
    seen: list[Image] = []

    def detect(picture: Image) -> Any:
        seen.append(picture)
        rows, columns = np.nonzero(picture[:, :, 0] > 127)
        size = columns.max() - columns.min() + 1
        return [
            face(0, 0, 20, score=0.99),  # in the corner of the picture
            face(float(columns.min()), float(rows.min()), float(size)),
        ]

    found: Any = look_again(detect, photo, face(300, 100), 208)  # type: ignore[arg-type]
    (picture,) = seen
    assert picture.shape == (208, 208, 3), "2.6 times 40 pixels, twice as large"
    np.testing.assert_allclose(found, face(300, 100).landmarks, atol=1.0)


def test_without_a_face_in_the_middle_the_landmarks_stay() -> None:
    photo = np.zeros((400, 600, 3), np.uint8)
    known = face(300, 100)
    for answer in ([], [face(0, 0, 20)]):
        kept = look_again(lambda picture, answer=answer: answer, photo, known, 104)  # type: ignore[misc, arg-type]
        assert kept is known.landmarks
    assert known.landmarks[0] == pytest.approx([310, 110])
