from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from halnet.benchmarks.studies import repeatability
from halnet.benchmarks.studies.repeatability import CHANGES, Repeated, find_same, repeat
from halnet.datasets.record import Record
from halnet.faces.alignment import TEMPLATE
from halnet.faces.detected import DetectedFace
from halnet.photos.images import Image
from halnet.predictor import Predictor

PHOTO = np.random.default_rng(0).integers(20, 200, (60, 50, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "right", "down"),
    [
        ("one pixel to the left", -1, 0),
        ("one pixel to the right", 1, 0),
        ("one pixel up", 0, -1),
        ("one pixel down", 0, 1),
    ],
)
def test_a_photo_is_moved_by_one_pixel(name: str, right: int, down: int) -> None:
    moved = CHANGES[name](PHOTO)
    assert (moved[10 + down, 10 + right] == PHOTO[10, 10]).all()
    inner = np.roll(PHOTO, (down, right), axis=(0, 1))[1:-1, 1:-1]
    np.testing.assert_array_equal(moved[1:-1, 1:-1], inner)


def test_the_other_changes() -> None:
    assert len(CHANGES) == 8
    assert CHANGES["10% brighter"](PHOTO).mean() == pytest.approx(1.1 * PHOTO.mean(), rel=0.01)
    assert CHANGES["10% darker"](PHOTO).mean() == pytest.approx(0.9 * PHOTO.mean(), rel=0.01)
    assert CHANGES["10% smaller"](PHOTO).shape == (54, 45, 3)
    gradient = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 3, axis=2)
    gradient = np.repeat(gradient, 64, axis=0)
    gradient[..., 0] = 250  # red: the order of the colours is kept
    compressed = CHANGES["JPEG of quality 80"](gradient)
    assert 0 < np.abs(compressed.astype(int) - gradient).mean() < 5


def test_the_standard_deviation_leaves_out_incomplete_photos() -> None:
    changed = np.tile(np.array([29.0, 31.0]), (3, 4))
    changed[1] *= 2
    changed[2, 5] = np.nan
    found = Repeated(np.array([30.0, 61.0, 30.0]), changed)
    deviation = np.sqrt(8 / 7)
    assert found.stddev == pytest.approx([deviation, 2 * deviation])
    rows = found.rows()
    assert [row[0] for row in rows] == list(CHANGES)
    assert rows[0][1:] == ["2.00", "2.90", "3.00"]  # shifts of 1 and 3 years
    assert rows[1][1:] == ["1.00", "1.00", "1.00"]


def test_the_same_face_is_the_nearest_one() -> None:
    def face(shift: float) -> DetectedFace:
        return DetectedFace((0, 0, 50, 50), (TEMPLATE + shift).astype(np.float32), 0.9)

    near, far = face(5), face(40)
    assert find_same([far, near], TEMPLATE) is near
    assert find_same([far], TEMPLATE) is None
    assert find_same([], TEMPLATE) is None


def test_each_change_goes_the_whole_way(tmp_path: Path) -> None:
    photo = np.full((300, 300, 3), 120, np.uint8)
    photo[:, :150] = 90
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    sizes = []

    def detector(image: Image) -> list[DetectedFace]:
        sizes.append(image.shape[:2])
        places = TEMPLATE * image.shape[0] / 300
        return [DetectedFace((60, 60, 120, 140), places.astype(np.float32), 0.9)]

    predictor = Predictor(detector=detector, threads=1)
    found = repeat(predictor, tmp_path, [Record("a.png", 30, 30)])
    assert sizes == [(300, 300)] * 8 + [(270, 270)]
    assert found.changed.shape == (1, 8)
    assert found.is_complete.all()
    assert found.stddev[0] > 0
    assert found.unchanged[0] == pytest.approx(predictor(photo)[0].age, abs=1e-4)


def test_photos_whose_face_is_lost(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), PHOTO)
    found = repeat(
        Predictor(detector=lambda photo: [], threads=1), tmp_path, [Record("a.png", 30, 30)]
    )
    assert not found.is_complete.any()
    assert len(found.stddev) == 0


def test_the_study_runs_on_photos(aaf_prepared: Path, aaf_sample: Path, yunet: Path) -> None:
    arguments = ["--data", aaf_prepared, "--photos", aaf_sample, "--detector", yunet]
    result = CliRunner().invoke(
        repeatability.main, [*map(str, arguments), "--limit", "2"], catch_exceptions=False
    )
    assert "median" in result.output.splitlines()[-1]
    assert "(2 photos; in 0 others" in result.output
