"""The search on a made-up network whose layers' shifts add up."""

from dataclasses import replace

import pytest

from halnet.calibration.budget import AgeShift, Budget
from halnet.calibration.search import Step, search
from halnet.errors import ArtifactError

SHIFTS = {f"layer{i}": 2.0 ** (3 - i) for i in range(10)}  # years: 8, 4, 2, 1, ...


def _shift(years: float) -> AgeShift:
    return AgeShift(years / 4, years / 2, years, 2 * years, years / 100)


RANKING = list(SHIFTS)


def measure(kept: tuple[str, ...]) -> AgeShift:
    return _shift(sum(years for name, years in SHIFTS.items() if name not in kept))


def refuse_to_rank() -> list[str]:
    raise AssertionError("no ranking is needed")


@pytest.mark.parametrize(
    ("budget", "count"),
    [
        (Budget(mae=1, p99=16.0), 0),
        (Budget(mae=1, p99=8.0), 1),
        (Budget(mae=1, p99=2.0), 3),  # without 8, 4 and 2, the shifts are 1 + 1/2 + ...
        (Budget(mae=0.01, p99=50.0), 4),
        (Budget(mae=1, p99=0.1), 8),
    ],
)
def test_as_few_layers_as_possible_are_kept_in_floating_point(budget: Budget, count: int) -> None:
    seen: list[Step] = []
    best, steps = search(RANKING, lambda: RANKING, measure, budget, seen.append)
    assert best.kept == tuple(list(SHIFTS)[:count])
    assert budget.allows(best.shift)
    assert not count or not budget.allows(measure(best.kept[:-1]))
    assert tuple(seen) == steps
    if count <= 2:  # a quarter of the layers
        assert len({step.kept for step in steps}) == len(steps), "nothing is measured twice"


def test_layers_are_not_ranked_where_none_has_to_be_kept() -> None:
    best, steps = search(RANKING, refuse_to_rank, measure, Budget(mae=1, p99=16.0))
    assert (best.kept, len(steps)) == ((), 1)


def test_a_budget_that_cannot_be_met_is_an_error() -> None:
    with pytest.raises(
        ArtifactError,
        match=r"no INT8 model meets the budget with 95 % confidence: .* at most 0\.05 years .* "
        r"at most 0\.001 years, found a change of \+0\.000 years and a shift of 0\.02 years",
    ):
        search(RANKING, lambda: RANKING, measure, Budget(p99=0.001))


def test_the_error_names_the_dataset_that_does_not_meet_the_budget() -> None:
    def measure_sets(kept: tuple[str, ...]) -> AgeShift:
        return replace(_shift(0.1), by_set={"a": _shift(0.2), "b": _shift(4.0)})

    message = r"found a change of \+0\.040 years and a shift of 4\.00 years on b with only one"
    with pytest.raises(ArtifactError, match=message):
        search(RANKING, lambda: RANKING, measure_sets, Budget(p99=2.0))


def timed(kept: tuple[str, ...]) -> AgeShift:
    """A layer far behind is the most sensitive one. Each kept layer takes a millisecond more."""
    years = sum(years for name, years in SHIFTS.items() if name not in kept)
    return replace(_shift(years), milliseconds=float(len(kept)))


def test_layers_are_kept_from_the_input_on_if_a_quarter_is_enough() -> None:
    order = ["layer1", "layer0", *(f"layer{i}" for i in range(2, 10))]
    best, _ = search(order, refuse_to_rank, timed, Budget(mae=1, p99=8.0))
    assert best.kept == ("layer1", "layer0")


def test_the_most_sensitive_layers_are_kept_if_they_are_far_from_the_input() -> None:
    order = RANKING[::-1]
    best, steps = search(order, lambda: RANKING, timed, Budget(mae=1, p99=8.0))
    assert best.kept == ("layer0",)
    assert any(step.kept == tuple(order[:9]) for step in steps), "the other way was tried"


def test_the_faster_one_of_two_ways_is_taken() -> None:
    def measure_time(kept: tuple[str, ...]) -> AgeShift:
        gaps = sum(f"layer{int(name[5:]) + 1}" not in kept for name in kept)  # conversions
        return replace(timed(kept), milliseconds=10.0 * gaps + len(kept))

    order = [f"layer{i}" for i in (8, 7, 6, 5, 4, 3, 2, 1, 0, 9)]
    best, _ = search(order, lambda: RANKING[::2] + RANKING[1::2], measure_time, Budget(1, 3.0))
    assert best.kept == tuple(order[:9]), "fewer layers are kept the other way, with more gaps"
