import numpy as np
import pytest

from halnet.datasets.twins import (
    ages_differ,
    connect,
    find_twins,
    find_twins_between,
    members,
)

# Photos 0, 2 and 3 have close hashes; 3 looks different.
HASHES = np.array([0b111, 0xFFFF0000, 0b110, 0b111], np.uint64)
LOOKS = np.eye(64, dtype=np.float32)[[0, 1, 0, 5]]


def test_copies_have_close_hashes_and_look_alike() -> None:
    asked: list[int] = []

    def describe(index: int) -> np.ndarray:
        asked.append(index)
        return LOOKS[index]

    assert find_twins(HASHES, describe) == [(0, 2)]
    assert 1 not in asked, "only photos with close hashes are looked at"


def test_copies_between_two_parts() -> None:
    assert find_twins_between(HASHES, [2, 1], [3, 0], LOOKS.__getitem__) == [(2, 0)]
    assert find_twins_between(HASHES, [0, 2], [1, 3], LOOKS.__getitem__) == []


def test_pairs_of_pairs_are_in_one_group() -> None:
    groups = connect(7, [(4, 2), (5, 6), (2, 1), (1, 4)])
    assert groups == [0, 1, 1, 3, 1, 5, 5]
    assert members(groups) == {0: [0], 1: [1, 2, 4], 3: [3], 5: [5, 6]}


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(20, 20), (22, 22)], False),
        ([(20, 20), (23, 23)], True),
        ([(20, 20), (22, 22), (24, 24)], True),
        ([(20, 29), (31, 31)], False),
        ([(20, 29), (32, 32)], True),
        ([(20, 29), (15, 15), (25, 25)], True),
        ([(20, 29), (29, 39)], False),
        ([(5, 5)], False),
    ],
)
def test_ages_of_copies_may_differ_by_two_years(
    ranges: list[tuple[int, int]], expected: bool
) -> None:
    assert ages_differ(ranges) is expected
