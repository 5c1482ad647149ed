from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest

from halnet.ages import AGES, AgeCalibration
from halnet.drawing import draw_faces, draw_note
from halnet.results import Face
from halnet.tracking import Box

AMBER = (255, 176, 0)  # RGB
HEIGHT, WIDTH = 240, 320
CALIBRATION = AgeCalibration(1.0, tuple(percent / 50 for percent in range(1, 100)))


@dataclass(frozen=True)
class Text:
    """A text that was written, with its place in pixels."""

    words: str
    left: int
    top: int
    right: int
    bottom: int


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """Return the list of all texts that OpenCV writes."""
    texts: list[Text] = []
    write = cv2.putText

    def put_text(
        image: np.ndarray, text: str, origin: Any, font: int, scale: float, colour: Any, *more: Any
    ) -> Any:
        (width, height), baseline = cv2.getTextSize(text, font, scale, more[0])
        left, base = origin
        texts.append(Text(text, left, base - height, left + width, base + baseline))
        return write(image, text, origin, font, scale, colour, *more)

    monkeypatch.setattr(cv2, "putText", put_text)
    return texts


def photo(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return a photo without amber and black pixels."""
    rng = np.random.default_rng(0)
    return rng.integers(60, 120, (height, width, 3), np.uint8)


def face(box: Box, age: float = 38.4, stddev: float = 10.0) -> Face:
    probabilities = (round(age) == AGES).astype(np.float32)
    return Face(age, stddev, probabilities, box, np.zeros((5, 2)), 0.9, CALIBRATION)


def amber(image: np.ndarray) -> np.ndarray:
    return np.asarray((image == AMBER).all(axis=2))


def test_the_box_is_drawn_where_the_face_is() -> None:
    drawn = draw_faces(photo(), [face((60.4, 100.2, 90.3, 70.1))])  # 60 to 150, 100 to 170
    below = amber(drawn)
    below[:105] = False  # the upper edge and the bar of the text
    rows, columns = np.nonzero(below)
    assert columns.min() == pytest.approx(60, abs=1)
    assert columns.max() == pytest.approx(150, abs=1)
    assert rows.max() == pytest.approx(170, abs=1)
    assert amber(drawn)[100, 60:151].all()
    inside = np.s_[104:167, 64:147]
    np.testing.assert_array_equal(drawn[inside], photo()[inside])


def test_only_the_box_and_its_text_are_drawn() -> None:
    drawn = draw_faces(photo(), [face((60, 100, 90, 70))])
    rows, columns = np.nonzero((drawn != photo()).any(axis=2))
    assert (rows.min(), rows.max()) == (pytest.approx(85, abs=4), pytest.approx(170, abs=1))
    assert (columns.min(), columns.max()) == (pytest.approx(60, abs=1), pytest.approx(150, abs=1))


def test_the_photo_is_not_changed() -> None:
    image = photo()
    drawn = draw_faces(image, [face((60, 100, 90, 70))])
    noted = draw_note(image, "17 frames/s")
    np.testing.assert_array_equal(image, photo())
    assert not np.shares_memory(image, drawn)
    assert not np.shares_memory(image, noted)
    np.testing.assert_array_equal(draw_faces(image, []), image)


@pytest.mark.parametrize(
    ("level", "expected"), [(0.9, "38 (20-56)"), (0.5, "38 (28-48)"), (None, "38 (20-56)")]
)
def test_the_text_states_the_age_and_its_interval(
    level: float | None, expected: str, written: list[Text]
) -> None:
    """The quantile at 90 % is 1.8 standard deviations of 10 years, at 50 % it is 1.0."""
    found = face((60, 100, 90, 70))
    if level is None:
        draw_faces(photo(), [found])
    else:
        draw_faces(photo(), [found], level)
    (text,) = written
    assert text.words == expected
    # It is above the box, and starts at its left edge.
    assert 60 <= text.left <= 66
    assert 80 < text.top < text.bottom <= 100


def test_each_face_has_its_own_box_and_text(written: list[Text]) -> None:
    faces = [face((20, 60, 60, 60), 8.0), face((200, 160, 60, 60), 72.0)]
    drawn = draw_faces(photo(), faces)
    assert [text.words.split()[0] for text in written] == ["8", "72"]
    assert written[0].bottom <= 60 < written[1].top
    assert amber(drawn)[90, 20]
    assert amber(drawn)[190, 200]


@pytest.mark.parametrize(
    "box",
    [
        (-30, -40, 80, 80),  # upper left corner
        (100, -5, 80, 80),  # upper border
        (290, -40, 80, 80),  # upper right corner
        (-30, 100, 80, 80),  # left border
        (290, 100, 80, 80),  # right border
        (-30, 210, 80, 80),  # lower left corner
        (100, 225, 80, 80),  # lower border
        (290, 238, 80, 80),  # lower right corner
        (100, 260, 80, 80),  # below the photo
    ],
)
def test_the_text_is_inside_the_photo_at_every_border(box: Box, written: list[Text]) -> None:
    drawn = draw_faces(photo(), [face(box)])
    (text,) = written
    assert 0 <= text.left < text.right <= WIDTH
    assert 0 <= text.top < text.bottom <= HEIGHT
    bar = drawn[text.top : text.bottom, text.left : text.right].astype(int)
    assert amber(bar).mean() > 0.5  # the letters are on a bar
    assert (bar.sum(axis=2) < 60).mean() > 0.05  # and are black


@pytest.mark.parametrize(("side", "thickness"), [(320, 2), (2000, 8)])
def test_lines_are_thicker_in_larger_photos(side: int, thickness: int) -> None:
    half = side // 2
    drawn = draw_faces(photo(side, side), [face((half, half, side // 4, side // 4))])
    row = amber(drawn)[half + side // 8]
    assert row[: half + side // 8].sum() == pytest.approx(thickness, abs=1)


def test_a_note_is_in_the_lower_left_corner(written: list[Text]) -> None:
    drawn = draw_note(photo(), "17 frames/s")
    (text,) = written
    assert text.words == "17 frames/s"
    assert 0 <= text.left < 10
    assert HEIGHT - 10 < text.bottom <= HEIGHT
    assert amber(drawn)[HEIGHT - 1, 0]
    np.testing.assert_array_equal(drawn[: HEIGHT // 2], photo()[: HEIGHT // 2])


@pytest.mark.parametrize("count", [1, 10, 55])
def test_a_long_note_is_made_smaller_to_fit(count: int, written: list[Text]) -> None:
    draw_note(photo(), "x" * count)
    (text,) = written
    assert text.right <= WIDTH


def test_a_note_that_is_too_long_is_cut_off_at_a_readable_size(written: list[Text]) -> None:
    drawn = draw_note(photo(), "x" * 200)
    (text,) = written
    assert text.left < 10
    assert text.right > WIDTH
    assert text.bottom - text.top >= 8  # pixels
    assert drawn.shape == (HEIGHT, WIDTH, 3)


def test_a_note_may_have_the_name_of_a_file_that_is_not_utf_8(written: list[Text]) -> None:
    draw_note(photo(), "lat\udce9.onnx: no such model file")
    (text,) = written
    assert text.words == "lat?.onnx: no such model file"
