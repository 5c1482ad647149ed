import math

import numpy as np
import pytest

from halnet.benchmarks.studies.turned_photos import nearest, turn
from halnet.faces.detected import DetectedFace


@pytest.mark.parametrize("angle", [0, 30, 90, 180, 210, 270])
def test_the_matrix_follows_the_pixels(angle: int) -> None:
    photo = np.zeros((60, 40, 3), np.uint8)
    photo[9:12, 29:32] = 255  # a mark around x = 30, y = 10
    turned, matrix = turn(photo, angle)
    x, y = matrix[:, :2] @ (30, 10) + matrix[:, 2]
    rows, columns = np.nonzero(turned[:, :, 0] > 100)
    assert columns.mean() == pytest.approx(x, abs=0.5)
    assert rows.mean() == pytest.approx(y, abs=0.5)
    shift = np.array([30, 10]) - (19.5, 29.5)  # from the centre of the photo
    radians = math.radians(angle)
    clockwise = shift[0] * math.cos(radians) - shift[1] * math.sin(radians)
    assert x - (turned.shape[1] - 1) / 2 == pytest.approx(clockwise, abs=1e-6)


def test_the_face_at_the_landmarks_counts() -> None:
    places = np.array([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]], np.float64)

    def face(shift: float) -> DetectedFace:
        return DetectedFace((0, 0, 40, 40), (places + shift).astype(np.float32), 0.9)

    near, far = face(3), face(20)
    assert nearest([far, near], places) is near
    assert nearest([far], places) is None, "farther away than the eyes are from each other"
    assert nearest([], places) is None
