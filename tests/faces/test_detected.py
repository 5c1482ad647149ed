"""What a detector returns, and what counts as a face."""

from typing import Any

import numpy as np
import pytest

from halnet.errors import ConfigError, DetectorError
from halnet.faces.detected import DetectedFace, largest_first
from halnet.faces.yunet import FaceDetector

PHOTO = np.zeros((100, 200, 3), np.uint8)
LANDMARKS = [[10, 12], [30, 12], [20, 20], [12, 30], [28, 30]]


def test_a_detected_face_converts_its_values() -> None:
    face = DetectedFace(np.array([5, 6, 40, 50]), LANDMARKS, np.float32(0.5))  # type: ignore[arg-type]
    assert face.box == (5, 6, 40, 50)
    assert [type(value) for value in (*face.box, face.score)] == [float] * 5
    assert face.landmarks.dtype == np.float32
    assert face.landmarks.tolist() == LANDMARKS
    assert face.area == 2000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"box": (1, 2, 3)}, r"box of .* four finite numbers .*, found an array of shape \(3,\)"),
        ({"box": None}, "box of .* four finite numbers"),
        ({"box": "face"}, "box of .* four finite numbers .*, found str"),
        ({"box": (0, 0, 40, float("nan"))}, r"box of .*, found \[0.0, 0.0, 40.0, nan\]"),
        (
            {"box": (50, 50, 10, -20)},
            r"width and height above 0, found \[50.0, 50.0, 10.0, -20.0\]",
        ),
        (
            {"landmarks": np.zeros((68, 2))},
            r"landmarks of .* 5 x 2 .*, found an array of shape \(68, 2\)",
        ),
        (
            {"landmarks": np.ravel(LANDMARKS)},
            r"landmarks of .* 5 x 2 .*, found an array of shape \(10,\)",
        ),
        ({"landmarks": [[1, 2], [3]]}, "landmarks of .* 5 x 2 finite numbers .*, found list"),
        ({"landmarks": np.full((5, 2), np.inf)}, "landmarks of .* 5 x 2 finite numbers .* found"),
        (
            {"landmarks": np.full((5, 2), 7)},
            r"five different places, found \[7.0, 7.0\] five times",
        ),
        (
            {"landmarks": [[1e39, 2], *LANDMARKS[1:]]},
            r"landmarks of .* in the range of float32, found \[\[1e\+39, 2.0\]",
        ),
        (
            {"landmarks": np.add([[1, 0]] * 4 + [[0, 0]], 1e10)},
            r"five different places, found \[10000000000.0, 10000000000.0\] five times",
        ),
        ({"score": float("nan")}, "score of .* a finite number"),
        ({"score": (0.5, 0.6)}, r"score of .* a finite number .*, found an array of shape \(2,\)"),
    ],
)
def test_a_detected_face_with_wrong_values_is_refused(
    changed: dict[str, Any], message: str
) -> None:
    values: dict[str, Any] = {"box": (5, 6, 40, 50), "landmarks": LANDMARKS, "score": 0.5}
    with pytest.raises(DetectorError, match=message) as error:
        DetectedFace(**{**values, **changed})
    assert "\n" not in str(error.value)


def test_the_largest_face_is_first_and_narrow_ones_are_dropped() -> None:
    sizes = [(20, 90), (50, 60), (60, 10)]
    faces = [DetectedFace((0, 0, *size), LANDMARKS, 0.5) for size in sizes]  # type: ignore[arg-type]
    assert [face.area for face in largest_first(iter(faces), PHOTO)] == [3000, 1800, 600]
    assert [face.box[2] for face in largest_first(faces, PHOTO, min_face=50)] == [50, 60]


@pytest.mark.parametrize(
    ("moved", "kept"),
    [
        ((0, 0), True),
        ((-19, 0), True),  # the left eye and mouth corner are outside, the middle is inside
        ((-21, 0), False),  # the middle is outside
        ((0, -21.5), False),
        ((181, 0), False),
        ((180, 0), True),
        ((0, 80), False),
        ((5e8, -5e8), False),
    ],
)
def test_a_face_whose_middle_is_outside_of_the_photo_is_dropped(
    moved: tuple[float, float], kept: bool
) -> None:
    face = DetectedFace((0, 0, 40, 40), np.add(LANDMARKS, moved), 0.5)  # type: ignore[arg-type]
    assert face.is_inside(200, 100) is kept
    assert largest_first([face], PHOTO) == ((face,) if kept else ())


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((-40, 0, 80, 40), True),
        ((-41, 0, 80, 40), False),
        ((160, 60, 80, 40), True),
        ((161, 60, 80, 40), False),
        ((0, -20, 40, 40), True),
        ((0, -21, 40, 40), False),
        ((-20, -20, 40, 40), False),  # a quarter of it is inside
        ((0, 100, 40, 40), False),
        ((-50, 200, 10, 900), False),
        ((-1e200, -1e200, 2e200, 2e200), False),
    ],
)
def test_a_face_whose_box_is_mostly_outside_of_the_photo_is_dropped(
    box: tuple[float, float, float, float], kept: bool
) -> None:
    face = DetectedFace(box, LANDMARKS, 0.5)  # type: ignore[arg-type]
    assert largest_first([face], PHOTO) == ((face,) if kept else ())


@pytest.mark.parametrize(("x", "kept"), [(-200, True), (-201, False), (400, True), (401, False)])
def test_a_face_with_a_landmark_far_outside_of_the_photo_is_dropped(x: float, kept: bool) -> None:
    landmarks = [[x, 50], [100, 50], [100, 60], [200 - x, 70], [100, 70]]  # the middle is inside
    face = DetectedFace((0, 0, 40, 40), landmarks, 0.5)  # type: ignore[arg-type]
    inside = DetectedFace((0, 0, 9, 9), LANDMARKS, 0.5)  # type: ignore[arg-type]
    assert largest_first([inside, face], PHOTO) == ((face, inside) if kept else (inside,))


@pytest.mark.parametrize("min_face", [-3.0, float("nan"), float("inf")])
def test_a_wrong_width_of_the_narrowest_face_is_refused(min_face: float) -> None:
    with pytest.raises(ConfigError, match=f"min_face: .* pixels from 0 up, found {min_face}"):
        FaceDetector(min_face=min_face)


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (None, "it returned NoneType"),
        (7, "it returned int"),
        ([{"box": (0, 0, 9, 9)}], "one of them is dict"),
        (np.zeros((1, 15)), "one of them is ndarray"),
    ],
)
def test_something_else_than_faces_is_refused(returned: Any, found: str) -> None:
    with pytest.raises(
        DetectorError, match=f"a sequence of halnet.DetectedFace values, but {found}"
    ):
        largest_first(returned, PHOTO)
