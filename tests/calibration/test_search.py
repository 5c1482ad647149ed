"""The search on a made-up network whose layers' errors add up."""

import numpy as np
import pytest

from halnet.calibration.budget import AgeShift, Budget, percentile_bound
from halnet.calibration.layers import Layer
from halnet.calibration.search import Step, search
from halnet.calibration.sensitivity import Sensitivity, to_csv
from halnet.errors import ArtifactError, ConfigError

ERRORS = {f"layer{i}": 2.0 ** (3 - i) for i in range(10)}  # years: 8, 4, 2, 1, ...


def _move(error: float) -> AgeShift:
    return AgeShift(error / 4, error / 2, error, 2 * error, error / 100)


RANKING = [Sensitivity(Layer(n, "projection", (n,)), _move(e)) for n, e in ERRORS.items()]


def _try(kept: tuple[str, ...]) -> AgeShift:
    return _move(sum(error for name, error in ERRORS.items() if name not in kept))


@pytest.mark.parametrize(
    ("budget", "count"),
    [
        (Budget(mae=1, p99=16.0), 0),
        (Budget(mae=1, p99=8.0), 1),
        (Budget(mae=1, p99=2.0), 3),  # 4, 2 and 1 given back leave 1 + 1/2 + ...
        (Budget(mae=0.01, p99=50.0), 4),
        (Budget(mae=1, p99=0.1), 8),
    ],
)
def test_as_few_layers_as_will_do_are_given_back(budget: Budget, count: int) -> None:
    seen: list[Step] = []
    best, steps = search(lambda: RANKING, _try, budget, seen.append)
    assert best.kept == tuple(list(ERRORS)[:count])
    assert budget.holds(best.shift)
    assert not count or not budget.holds(_try(best.kept[:-1]))
    assert tuple(seen) == steps
    assert len({step.kept for step in steps}) == len(steps)  # none is tried twice


def test_a_budget_that_nothing_holds_is_an_error() -> None:
    with pytest.raises(ArtifactError, match=r"less than 0.05 years .* and 0.001 .* it may be 0.02"):
        search(lambda: RANKING, _try, Budget(p99=0.001))


@pytest.mark.parametrize("value", [0.0, -0.05, float("nan")])
def test_a_budget_must_be_positive(value: float) -> None:
    with pytest.raises(ConfigError, match="budget of mae: expected more than 0 years"):
        Budget(mae=value)


def test_unknown_ages_are_not_judged() -> None:
    assert Budget().holds(AgeShift(0.1, 1.4, 1.9, 3.0, None))
    assert not Budget().holds(AgeShift(0.1, 1.4, 2.1, 3.0, None))
    assert not Budget().holds(AgeShift(0.1, 1.4, 1.9, 3.0, -0.06))


@pytest.mark.parametrize(("count", "expected"), [(20, 20), (298, 298), (299, 299), (575, 574)])
def test_the_bound_of_a_percentile(count: int, expected: float) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, count + 1))
    assert percentile_bound(values.tolist()) == expected


def test_the_bound_holds_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).exponential(size=(2000, 575))
    percentile = np.log(100)  # of the distribution drawn from
    holds = np.mean([percentile_bound(draw) >= percentile for draw in draws])
    assert holds == pytest.approx(0.979, abs=0.01)  # 1 - P(fewer than two of 575 lie beyond)


def test_the_ranking_as_a_table() -> None:
    lines = to_csv(RANKING).splitlines()
    assert lines[0] == "layer,role,mean,p99,maximum,delta_mae"
    assert lines[1] == "layer0,projection,2.0000,4.0000,16.0000,+0.0800"
