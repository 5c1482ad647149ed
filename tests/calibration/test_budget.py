import numpy as np
import pytest

from halnet.calibration.budget import AgeShift, Budget, percentile_bound
from halnet.errors import ConfigError


@pytest.mark.parametrize("value", [0.0, -0.05, float("nan")])
@pytest.mark.parametrize("name", ["mae", "p99"])
def test_a_budget_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"budget of {name}: expected more than 0 years"):
        Budget(**{name: value})


@pytest.mark.parametrize(
    ("bound", "delta", "allowed"),
    [
        (1.9, None, True),  # an unknown change of the MAE counts as 0
        (2.1, None, False),
        (1.9, 0.04, True),
        (1.9, -0.06, False),
        (1.9, 0.06, False),
    ],
)
def test_what_a_budget_allows(bound: float, delta: float | None, allowed: bool) -> None:
    assert Budget().allows(AgeShift(0.1, 1.4, bound, 3.0, delta)) == allowed


@pytest.mark.parametrize(("count", "expected"), [(20, 20), (298, 298), (299, 299), (575, 574)])
def test_the_bound_of_a_percentile(count: int, expected: float) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1, count + 1))
    assert percentile_bound(values.tolist()) == expected


def test_the_bound_is_correct_as_often_as_it_should_be() -> None:
    draws = np.random.default_rng(0).exponential(size=(2000, 575))
    percentile = np.log(100)  # of the distribution that the values are drawn from
    correct = np.mean([percentile_bound(draw) >= percentile for draw in draws])
    assert correct == pytest.approx(0.979, abs=0.01)  # 1 - P(at most one of 575 lies above)


@pytest.mark.parametrize(
    ("bound", "delta", "expected"),
    [(1.9, 0.04, None), (2.1, 0.0, "b"), (1.9, -0.06, "b")],
)
def test_each_large_dataset_has_to_meet_the_budget(
    bound: float, delta: float, expected: str | None
) -> None:
    """Errors that grow in one dataset and shrink in another are no change of the MAE together."""
    good, part = AgeShift(0.1, 1.0, 1.5, 3.0, 0.0), AgeShift(0.1, 1.0, bound, 3.0, delta)
    shift = AgeShift(0.1, 1.0, 1.5, 3.0, 0.0, by_set={"a": good, "b": part})
    assert Budget().find_excess(shift) == (None if expected is None else (expected, part))
    assert Budget().allows(shift) is (expected is None)
    worse = AgeShift(0.1, 1.0, 3.0, 3.0, 0.0, by_set={"a": part})
    assert Budget().find_excess(worse) == ("", worse), "all photos are judged first"


def test_the_values_for_json_have_datasets_only_if_there_are_several() -> None:
    shift = AgeShift(0.1, 1.0, 1.5, 3.0, None, 2.5)
    values = {"mean": 0.1, "p99": 1.0, "p99_bound": 1.5, "maximum": 3.0, "delta_mae": None}
    assert shift.to_dict() == {**values, "milliseconds": 2.5}
    parts = AgeShift(0.1, 1.0, 1.5, 3.0, None, 2.5, {"a": shift}).to_dict()
    assert parts == {**shift.to_dict(), "by_set": {"a": shift.to_dict()}}
