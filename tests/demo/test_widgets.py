"""The parts of the page that several modes share."""

import numpy as np
import pytest

pytest.importorskip("streamlit")

from halnet.demo.widgets import count_text, draw_photo


@pytest.mark.parametrize(
    ("size", "shown"),
    [((40, 60), (40, 60)), ((1600, 1200), (1600, 1200)), ((4000, 1000), (1600, 400))],
)
def test_a_photo_is_shown_with_at_most_1600_pixels(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    photo = np.zeros((*size, 3), np.uint8)
    assert draw_photo(photo, [], 0.9).shape == (*shown, 3)


@pytest.mark.parametrize(("count", "text"), [(0, "0 faces"), (1, "1 face"), (2, "2 faces")])
def test_a_count_has_its_noun(count: int, text: str) -> None:
    assert count_text(count, "face") == text
