"""Chance: tests of whether a difference is more than chance, and intervals of differences.

A p-value is the share of outcomes at least as large as the one seen, if there were no difference.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from halnet.ages import Floats

ROUNDS = 10_000  # of a permutation test; the smallest p-value is 1 / (ROUNDS + 1)
BOOTSTRAP_ROUNDS = 2000
LEVEL = 0.05  # a p-value of at most this counts as more than chance
_BLOCK = 2_000_000  # values that are drawn at the same time, which bounds the memory
_NOISE = 1e-9  # outcomes that differ by less are the same


def sign_flip(differences: Floats) -> float:
    """Return the p-value of a paired difference, by random signs of N differences.

    The test is two-sided [Fisher's randomisation test; Edgington 1964].
    """
    rng = np.random.default_rng(0)
    seen = abs(float(differences.sum()))
    values = np.asarray(differences, np.float64)
    limit = seen - _NOISE * max(1.0, float(np.abs(values).sum()))
    count = 0
    for rows in _rounds(len(values)):
        signs = rng.integers(0, 2, (rows, len(values)), np.int8) * 2.0 - 1.0
        count += int((np.abs(signs @ values) >= limit).sum())
    return (count + 1) / (ROUNDS + 1)


def shuffle_test(first: Floats, second: Floats) -> float:
    """Return the p-value of the difference of two means, of other photos, by shuffling them.

    The test is two-sided.
    """
    rng = np.random.default_rng(0)
    both = np.concatenate([first, second]).astype(np.float64)
    seen = abs(float(first.mean() - second.mean()))
    limit = seen - _NOISE * max(1.0, float(np.abs(both).max()))
    count = 0
    for rows in _rounds(len(both)):
        order = rng.permuted(np.broadcast_to(both, (rows, len(both))), axis=1)
        part = order[:, : len(first)].mean(axis=1), order[:, len(first) :].mean(axis=1)
        count += int((np.abs(part[0] - part[1]) >= limit).sum())
    return (count + 1) / (ROUNDS + 1)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of a paired difference of two rates [McNemar 1947].

    The arguments are the numbers of photos with the property in one of two results alone.
    """
    total = only_first + only_second
    number = np.arange(min(only_first, only_second) + 1)
    return min(1.0, 2 * float(np.exp(_log_ways(total, number) - total * np.log(2)).sum()))


def fisher(hits: int, count: int, other_hits: int, other_count: int) -> float:
    """Return the exact two-sided p-value of the difference of two rates of other photos.

    It is the sum of the probabilities of all tables that are not more likely than the one seen, if
    the sums of its rows and columns are given [Fisher 1935].
    """
    total = hits + other_hits
    number = np.arange(max(0, total - other_count), min(count, total) + 1)
    logs = _log_ways(count, number) + _log_ways(other_count, total - number)
    logs -= _log_ways(count + other_count, np.array([total]))
    chances = np.exp(logs)
    seen = chances[int(np.flatnonzero(number == hits)[0])]
    return min(1.0, float(chances[chances <= seen * (1 + 1e-7)].sum()))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values that are corrected for their number [Holm 1979], in the same order.

    If all of them that are at most 5 % count as more than chance, the probability that one of
    them is chance is at most 5 %.
    """
    adjusted = [1.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        largest = max(largest, min(1.0, values[index] * (len(values) - rank)))
        adjusted[index] = largest
    return adjusted


def bootstrap_gap(first: Floats, second: Floats) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of the mean of `second` minus that of `first`."""
    rng = np.random.default_rng(0)
    means = []
    for values in (first, second):
        rows = max(1, _BLOCK // len(values))
        parts = [
            values[
                rng.integers(0, len(values), (min(rows, BOOTSTRAP_ROUNDS - start), len(values)))
            ].mean(axis=1)
            for start in range(0, BOOTSTRAP_ROUNDS, rows)
        ]
        means.append(np.concatenate(parts))
    low, high = np.percentile(means[1] - means[0], [2.5, 97.5])
    return float(low), float(high)


def largest_gap(
    values: Floats, group: NDArray[np.int64], stratum: NDArray[np.int64], rounds: int = 5000
) -> tuple[float, float]:
    """Return the largest difference between the means of groups, and whether groups differ.

    `values`, `group` (0, 1, ...) and `stratum` have N values. The second result is the p-value of
    a permutation test. The mean of each stratum, such as an age band of a dataset, is subtracted
    from its values, and the groups are shuffled inside each stratum. So a difference of ages or of
    datasets between the groups neither makes a difference nor hides one. For each group, the sum of
    what is left is divided by the standard deviation of this sum over the shuffles, because small
    groups vary more. The largest of these is compared with the largest of each shuffle, so there is
    no correction for the number of groups [Westfall and Young 1993].
    """
    rng = np.random.default_rng(0)
    sizes = np.bincount(group)
    order = np.argsort(stratum, kind="stable")
    own, strata = group[order], np.unique(stratum[order], return_inverse=True)[1]
    usual = np.bincount(strata, values[order]) / np.bincount(strata)
    rest = values[order] - usual[strata]

    sums = np.empty((rounds + 1, len(sizes)))
    sums[0] = np.bincount(own, rest, len(sizes))
    for turn in range(1, rounds + 1):
        shuffled = own[np.lexsort((rng.random(len(own)), strata))]
        sums[turn] = np.bincount(shuffled, rest, len(sizes))
    farthest = (np.abs(sums) / np.maximum(sums[1:].std(axis=0), _NOISE)).max(axis=1)
    means = np.bincount(group, values, len(sizes)) / sizes
    count = int((farthest[1:] >= farthest[0] - _NOISE).sum())
    return float(means.max() - means.min()), (count + 1) / (rounds + 1)


def _rounds(count: int) -> list[int]:
    """Return how many rounds are computed at the same time, for `count` values a round."""
    rows = max(1, _BLOCK // max(1, count))
    return [min(rows, ROUNDS - start) for start in range(0, ROUNDS, rows)]


def _log_ways(total: int, number: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the logarithms of how many ways there are to choose `number` of `total`."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1, dtype=np.float64)))])
    return np.asarray(logs[total] - logs[number] - logs[total - number])
