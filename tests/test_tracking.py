import numpy as np
import pytest

from halnet.ages import AGES, AgeCalibration
from halnet.errors import ConfigError
from halnet.results import Face
from halnet.tracking import Box, Tracker, overlap

CALIBRATION = AgeCalibration(1.0, tuple(np.linspace(0.1, 3, 99)))


def face(age: int, x: float = 0.0) -> Face:
    """Return a face with a box of 100 pixels, whose distribution has this age alone."""
    probabilities = (age == AGES).astype(np.float32)
    return Face(age, 0.0, probabilities, (x, 0, 100, 100), np.zeros((5, 2)), 0.9, CALIBRATION)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (5, 0, 10, 10), 50 / 150),
        ((0, 0, 10, 10), (10, 0, 10, 10), 0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0),
    ],
)
def test_the_overlap_is_intersection_over_union(first: Box, second: Box, expected: float) -> None:
    assert overlap(first, second) == pytest.approx(expected)


def test_the_first_frames_count_equally() -> None:
    tracker = Tracker(half_life=1000)
    ages = [tracker.update([face(age)], i / 100)[0].age for i, age in enumerate((20, 40, 30))]
    assert ages == pytest.approx([20, 30, 30])


@pytest.mark.parametrize("rate", [5, 50])
def test_the_past_counts_half_after_a_half_life(rate: int) -> None:
    tracker = Tracker(half_life=1.0)
    for i in range(20 * rate):
        tracker.update([face(20)], i / rate)
    start = (20 * rate - 1) / rate
    for i in range(1, 2 * rate + 1):
        (found,) = tracker.update([face(60)], start + i / rate)
    assert found.age == pytest.approx(60 - 40 * 0.25, abs=0.1)  # two half-lives
    # A quarter of the average is at 20 years and the rest at 60.
    assert found.stddev == pytest.approx(40 * np.sqrt(0.25 * 0.75), abs=0.1)
    assert found.probabilities.sum() == pytest.approx(1)


def test_people_keep_their_ages_when_their_order_changes() -> None:
    tracker = Tracker(half_life=1000)
    tracker.update([face(20, 0), face(60, 300)], 0.0)
    first, second = tracker.update([face(60, 310), face(20, 10)], 0.1)
    assert (first.age, second.age) == (60, 20)
    assert (first.box[0], second.box[0]) == (310, 10)


def test_a_face_that_was_away_is_treated_as_a_new_one() -> None:
    tracker = Tracker(half_life=1000)
    tracker.update([face(20)], 0.0)
    assert tracker.update([], 0.5) == []
    assert tracker.update([face(40)], 0.9)[0].age == pytest.approx(30)  # it was missed in one frame
    assert tracker.update([face(60)], 2.0)[0].age == 60
    assert tracker.update([face(10, 200)], 2.1)[0].age == 10  # at another place


def test_each_person_has_a_number() -> None:
    tracker = Tracker()
    numbers = [
        [found.track for found in tracker.update(faces, time)]
        for time, faces in (
            (0.0, [face(20, 0), face(60, 300)]),
            (0.1, [face(60, 310), face(20, 10), face(40, 700)]),
            (0.2, []),
            (0.3, [face(60, 320)]),
            (1.5, [face(60, 320), face(20, 10)]),  # away for 1.2 and 1.4 seconds
        )
    ]
    assert numbers == [[1, 2], [2, 1, 3], [], [2], [4, 5]]


def test_a_face_may_be_away_for_as_long_as_the_frames_are_apart() -> None:
    tracker = Tracker(forget_after=4.0)
    assert [tracker.update([face(20)], time)[0].track for time in (0.0, 2.0, 6.0, 10.1)] == [
        *(1, 1, 1, 2)
    ]


def test_without_smoothing_each_frame_keeps_its_ages() -> None:
    tracker = Tracker(half_life=0)
    found = [tracker.update([face(age)], i / 10)[0] for i, age in enumerate((20, 40, 30))]
    assert [(face.age, face.track) for face in found] == [(20, 1), (40, 1), (30, 1)]


@pytest.mark.parametrize("half_life", [-1.0, float("inf"), float("nan")])
def test_a_half_life_is_a_finite_number(half_life: float) -> None:
    with pytest.raises(ConfigError, match="smooth: expected a finite number"):
        Tracker(half_life)


def test_a_face_keeps_its_number_when_it_passes_the_place_of_one_who_is_hidden() -> None:
    """The first person hides the second one, and then stands exactly where that one stood."""
    tracker = Tracker()
    tracker.update([face(20, 0), face(60, 60)], 0.0)
    tracker.update([face(20, 25)], 0.1)
    (hiding,) = tracker.update([face(20, 60)], 0.2)
    assert (hiding.track, hiding.age) == (1, 20)
    tracker.update([face(20, 90)], 0.3)
    after = tracker.update([face(20, 110), face(60, 60)], 0.4)
    assert [found.track for found in after] == [1, 2]
