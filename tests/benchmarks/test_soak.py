import mmap
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from halnet.benchmarks import soak
from halnet.benchmarks.samples import portrait
from halnet.benchmarks.soak import DAMAGES, Answer, answer, by_threads, one_by_one
from halnet.faces.detected import DetectedFace
from halnet.photos.images import Image
from halnet.predictor import Predictor
from halnet.runtimes.fake import FakeRuntime

SIDES = (60, 120)  # pixels


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return soak.write_photos(tmp_path_factory.mktemp("photos"), SIDES)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """A predictor that knows where the face of the portrait is, and judges its brightness."""
    image, face = portrait()

    def detect(photo: Image) -> list[DetectedFace]:
        scale = photo.shape[0] / image.shape[0]
        return [DetectedFace(tuple(np.multiply(face.box, scale)), face.landmarks * scale, 0.9)]

    return Predictor(FakeRuntime(), detector=detect)


@pytest.fixture(scope="module")
def expected(predictor: Predictor, photos: list[Path]) -> list[Answer]:
    return [answer(predictor, photo) for photo in photos]


def test_the_photos_are_of_several_sizes_and_formats_and_some_are_damaged(
    photos: list[Path], expected: list[Answer]
) -> None:
    good = {path.name: found for path, found in zip(photos, expected, strict=True)}
    assert {f"{side}{suffix}" for side in SIDES for suffix in (".jpg", ".png", ".bmp")} <= set(good)
    ages = [found for name, found in good.items() if not name.startswith("damaged")]
    assert all(len(found) == 1 and 0 < found[0] < 100 for found in ages)
    errors = [found for found in expected if isinstance(found, str)]
    assert len(errors) >= len(DAMAGES)
    assert any("empty" in error for error in errors)
    assert any("damaged" in error for error in errors)


@pytest.mark.parametrize("way", [one_by_one, by_threads])
def test_a_way_that_works_gives_the_expected_answers(
    way: soak.Way, predictor: Predictor, photos: list[Path], expected: list[Answer]
) -> None:
    with way(predictor, 2) as predict:
        outcome = soak.soak(predict, photos, 2 * len(photos) + 1, expected)
    assert outcome.different == 0
    assert outcome.files[0] == outcome.files[1] > 0
    assert len(outcome.memory) == 5
    assert outcome.memory[0] > 10


def test_leaks_and_other_answers_are_found(photos: list[Path], expected: list[Answer]) -> None:
    """Each photo leaks an open file and a megabyte, and every answer is that of the first photo."""
    leaked: list[int] = []
    memory = []

    def predict(paths: Iterable[Path]) -> Iterator[Answer]:
        for path in paths:
            leaked.append(os.open(path, os.O_RDONLY))
            # A map is always new. An array could take memory that was used and freed before.
            memory.append(mmap.mmap(-1, 2**20))
            memory[-1].write(bytes([1]) * 2**20)
            yield expected[0]

    try:
        outcome = soak.soak(predict, photos[:4], 8, expected[:4])
    finally:
        for handle, block in zip(leaked, memory, strict=True):
            os.close(handle)
            block.close()
    assert outcome.files[1] - outcome.files[0] == 8
    assert 4 < outcome.memory[4] - outcome.memory[0] < 20
    assert outcome.different == 2 * sum(found != expected[0] for found in expected[:4]) > 0


def test_the_table_has_a_row_for_each_way(
    yunet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = soak.write_photos(tmp_path, (120,))
    monkeypatch.setattr(soak, "write_photos", lambda folder: few)
    monkeypatch.setattr(soak, "WARM_UP", 1)
    args = ["--model", "model.fake", "--runtime", "fake", "--detector", str(yunet)]
    args += ["--photos", "8", "--workers", "1"]
    done = CliRunner().invoke(soak.main, args, catch_exceptions=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    columns, _, *rows = [line.strip("| ").split(" | ") for line in lines]
    assert [row[0] for row in rows] == ["one by one", "threads", "processes"]
    assert columns == list(soak.COLUMNS)
    assert all(len(row) == len(columns) for row in rows)
    assert [row[-1] for row in rows] == ["0", "0", "0"]
    assert float(rows[2][2]) > float(rows[0][2])  # the memory of two processes
