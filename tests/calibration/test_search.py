"""The search on a made-up network whose layers' shifts add up."""

from dataclasses import replace

import pytest

from halnet.calibration.budget import AgeShift, Budget
from halnet.calibration.layers import Layer
from halnet.calibration.search import Step, search
from halnet.calibration.sensitivity import Sensitivity
from halnet.errors import ArtifactError

SHIFTS = {f"layer{i}": 2.0 ** (3 - i) for i in range(10)}  # years: 8, 4, 2, 1, ...


def _shift(years: float) -> AgeShift:
    return AgeShift(years / 4, years / 2, years, 2 * years, years / 100)


RANKING = [Sensitivity(Layer(n, "projection", (n,)), _shift(years)) for n, years in SHIFTS.items()]


def measure(kept: tuple[str, ...]) -> AgeShift:
    return _shift(sum(years for name, years in SHIFTS.items() if name not in kept))


def refuse_to_rank() -> list[Sensitivity]:
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
    best, steps = search(lambda: RANKING, measure, budget, seen.append)
    assert best.kept == tuple(list(SHIFTS)[:count])
    assert budget.allows(best.shift)
    assert not count or not budget.allows(measure(best.kept[:-1]))
    assert tuple(seen) == steps
    assert len({step.kept for step in steps}) == len(steps), "nothing is measured twice"


def test_layers_are_not_ranked_where_none_has_to_be_kept() -> None:
    best, steps = search(refuse_to_rank, measure, Budget(mae=1, p99=16.0))
    assert (best.kept, len(steps)) == ((), 1)


def test_a_budget_that_cannot_be_met_is_an_error() -> None:
    with pytest.raises(
        ArtifactError,
        match=r"no INT8 model meets the budget with 95 % confidence: .* at most 0\.05 years .* "
        r"at most 0\.001 years, found a change of \+0\.000 years and a shift of 0\.02 years",
    ):
        search(lambda: RANKING, measure, Budget(p99=0.001))


def test_the_error_names_the_dataset_that_does_not_meet_the_budget() -> None:
    def measure_sets(kept: tuple[str, ...]) -> AgeShift:
        return replace(_shift(0.1), by_set={"a": _shift(0.2), "b": _shift(4.0)})

    message = r"found a change of \+0\.040 years and a shift of 4\.00 years on b with only one"
    with pytest.raises(ArtifactError, match=message):
        search(lambda: RANKING, measure_sets, Budget(p99=2.0))
