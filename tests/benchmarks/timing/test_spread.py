"""Intervals of medians and ratios, on given numbers."""

import numpy as np
import pytest

from halnet.benchmarks.timing.spread import (
    MIN_TURNS,
    Ratio,
    median_interval,
    paired_ratio,
    unpaired_ratio,
)

RNG = np.random.default_rng(3)
NOISE = 1 + RNG.normal(0, 0.02, 20)  # 2 % from turn to turn
PHASES = np.repeat([1.0, 1.5], 10)  # the machine is half as fast again in the second half


def test_the_ratio_of_times_without_any_spread() -> None:
    assert paired_ratio([2.0] * 20, [4.0] * 20) == Ratio(0.5, 0.5, 0.5)
    assert unpaired_ratio([2.0] * 20, [4.0] * 20) == Ratio(0.5, 0.5, 0.5)
    assert median_interval([2.0] * 20) == (2.0, 2.0)


def test_slow_phases_of_the_machine_leave_the_ratio_of_turns_as_it_is() -> None:
    """Each time has an interval of half its value, and their ratio has one of few percents."""
    own, other = 3 * PHASES * NOISE, 6 * PHASES * NOISE[::-1]
    low, high = median_interval(own)
    assert low is not None
    assert high is not None
    assert high - low > 1
    ratio = paired_ratio(own, other)
    assert ratio.value == pytest.approx(0.5, abs=0.02)
    assert not ratio.is_worthless
    apart = unpaired_ratio(own, other)
    assert apart.value == ratio.value
    assert apart.is_worthless


def test_the_interval_holds_as_often_as_it_says() -> None:
    """Of 200 pairs of benchmarks with the ratio 0.5, 95 % have intervals that contain it."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        own, other = rng.normal(2, 0.1, 20), rng.normal(4, 0.2, 20)
        found = unpaired_ratio(own, other)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.5 <= found.high
    assert 0.9 <= inside / 200 <= 0.995


def test_a_wide_interval_makes_a_ratio_worthless() -> None:
    assert not Ratio(0.5, 0.48, 0.52).is_worthless
    assert Ratio(0.5, 0.47, 0.53).is_worthless
    assert Ratio(0.5).is_worthless


def test_too_few_turns_have_no_interval() -> None:
    few = [1.0] * (MIN_TURNS - 1)
    assert median_interval(few) == (None, None)
    assert paired_ratio(few, few) == Ratio(1.0)
    assert unpaired_ratio(few, [2.0] * 20) == Ratio(0.5)
    assert str(Ratio(0.5)) == "0.50"
    assert str(Ratio(0.5, 0.48, 0.526)) == "0.50 (0.48 to 0.53)"


def test_the_same_numbers_give_the_same_interval() -> None:
    assert paired_ratio(NOISE, PHASES) == paired_ratio(NOISE, PHASES)
