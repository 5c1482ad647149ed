import math

import pytest

from halnet.benchmarks.peers.answers import Answer, Box, FoundFace
from halnet.benchmarks.peers.judging import find_face, judge
from halnet.datasets.record import Record
from halnet.errors import DatasetError

# The mean of these landmarks is at x = 40, y = 50.
LANDMARKS = (30.0, 40.0, 50.0, 40.0, 40.0, 50.0, 32.0, 60.0, 48.0, 60.0)
AROUND: Box = (10, 20, 60, 60)  # with its centre at x = 40, y = 50
ELSEWHERE: Box = (100, 20, 60, 60)


def record(age: int) -> Record:
    return Record(f"{age}.jpg", age, age, landmarks=LANDMARKS)


def answer(*faces: tuple[float, Box], seconds: float = 0.01) -> Answer:
    return Answer(tuple(FoundFace(age, box) for age, box in faces), seconds)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([AROUND], 0),
        ([ELSEWHERE], None),
        ([], None),
        ([ELSEWHERE, AROUND], 1),
        ([(0, 0, 500, 500), AROUND, ELSEWHERE], 1),  # a box around the whole photo is no face
        ([(40, 50, 5, 5)], 0),  # at its corner
        ([(40.5, 50, 5, 5)], None),
        ([(10, 20, 30, 29.5)], None),
    ],
)
def test_the_face_whose_box_contains_the_centre_of_the_landmarks_counts(
    boxes: list[Box], expected: int | None
) -> None:
    given = answer(*((age, box) for age, box in enumerate(boxes)))
    face = find_face(given, record(30))
    assert (None if face is None else face.age) == expected


def test_each_peer_is_judged_on_its_own_photos_and_on_those_that_all_peers_found() -> None:
    records = [record(10), record(17), record(18), record(40)]
    answers = {
        "a": [
            answer((12, AROUND), seconds=0.010),
            answer((18, AROUND), seconds=0.020),
            answer((17, AROUND), seconds=0.040),
            answer((99, ELSEWHERE), (43, AROUND), seconds=0.090),
        ],
        "b": [
            answer((17.9, AROUND)),
            answer((25, ELSEWHERE), seconds=0.5),
            Answer(error="it cannot be read"),
            answer((30, AROUND), seconds=0.03),
        ],
    }
    judged = judge(answers, records)
    a, b = judged["a"], judged["b"]
    assert (a.photos, a.errors, a.found.count) == (4, 0, 4)
    assert a.found.mae == pytest.approx((2 + 1 + 1 + 3) / 4)
    assert a.found.bias == pytest.approx((2 + 1 - 1 + 3) / 4)
    assert (a.found.minors_as_adults.hits, a.found.minors_as_adults.count) == (1, 2)
    assert a.milliseconds == pytest.approx(30)
    assert a.common.count == b.common.count == 2
    assert (a.common.mae, a.common.bias) == (pytest.approx(2.5), pytest.approx(2.5))
    assert (a.common.minors_as_adults.hits, a.common.minors_as_adults.count) == (0, 1)
    assert (b.photos, b.errors, b.found.count) == (4, 1, 2)
    assert b.found.mae == b.common.mae == pytest.approx((7.9 + 10) / 2)
    assert b.found.bias == pytest.approx((7.9 - 10) / 2)
    assert b.milliseconds == pytest.approx(30), "photos without the face count, errors do not"


def test_an_interval_needs_photos() -> None:
    records = [record(30) for _ in range(20)]
    answers = [answer((30 + i % 2, AROUND)) for i in range(20)]
    interval = judge({"a": answers}, records)["a"].found.mae_interval
    assert interval is not None
    low, high = interval
    assert 0.2 < low < 0.5 < high < 0.8
    assert judge({"a": answers[1:]}, records[1:])["a"].found.mae_interval is None


def test_a_peer_that_finds_nothing() -> None:
    records = [record(12), record(30)]
    answers = {"a": [answer(), answer()], "b": [answer((12, AROUND)), answer((31, AROUND))]}
    judged = judge(answers, records)
    assert judged["a"].found.count == judged["b"].common.count == 0
    assert math.isnan(judged["a"].found.mae)
    assert judged["a"].to_dict()["found"]["mae"] is None
    assert judged["b"].found.mae == pytest.approx(0.5)


def test_a_range_of_ages_is_no_true_age() -> None:
    with pytest.raises(DatasetError, match="expected an exact age"):
        judge({"a": [answer()]}, [Record("a.jpg", 20, 29, landmarks=LANDMARKS)])
