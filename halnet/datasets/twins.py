"""Twins: photos in a dataset that are copies of one photo."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from halnet.datasets.crop_hash import (
    MAX_DISTANCE,
    MIN_SIMILARITY,
    find_close,
    find_close_within,
    similarity,
)
from halnet.trained_on import Hashes

MAX_AGE_DIFFERENCE = 2  # years: copies whose ages differ by more are rejected

Describe = Callable[[int], NDArray[np.float32]]  # `describe_crop` of the photo with an index


def find_twins(hashes: Hashes, describe: Describe) -> list[tuple[int, int]]:
    """Return the pairs of indices (i, j), i < j, of the photos that are copies."""
    pairs = find_close_within(hashes, MAX_DISTANCE)
    return [(i, j) for i, j in pairs if similarity(describe(i), describe(j)) >= MIN_SIMILARITY]


def find_twins_between(
    hashes: Hashes, first: Sequence[int], second: Sequence[int], describe: Describe
) -> list[tuple[int, int]]:
    """Return the pairs of indices (i of `first`, j of `second`) of the photos that are copies.

    `hashes` and `describe` are those of all photos.
    """
    close = find_close(hashes[list(first)], hashes[list(second)], MAX_DISTANCE)
    pairs = [(first[i], second[j]) for i, j in close]
    return [(i, j) for i, j in pairs if similarity(describe(i), describe(j)) >= MIN_SIMILARITY]


def connect(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return a group for each of `count` photos; pairs are in one group, as are pairs of pairs.

    The number of a group is the lowest index in it.
    """
    group = list(range(count))

    def lowest(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    for i, j in pairs:
        a, b = sorted((lowest(i), lowest(j)))
        group[b] = a
    return [lowest(i) for i in range(count)]


def members(groups: Sequence[int]) -> dict[int, list[int]]:
    """Return the photos of each group, for the result of `connect`."""
    found: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        found.setdefault(group, []).append(i)
    return found


def ages_differ(ranges: Iterable[tuple[int, int]]) -> bool:
    """Return whether the ages (lowest, highest) of copies contradict each other."""
    lows, highs = zip(*ranges, strict=True)
    return bool(max(lows) - min(highs) > MAX_AGE_DIFFERENCE)
