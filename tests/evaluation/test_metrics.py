import json
from collections.abc import Callable

import pytest

from halnet.evaluation.metrics import OTHER_VALUES, evaluate
from halnet.evaluation.predictions import Predictions

Make = Callable[..., Predictions]


def test_scores_of_all_photos_decades_and_sexes(make_predictions: Make) -> None:
    sex = ("female", "male", "female", "")
    result = evaluate(make_predictions([10, 25, 30, 30], [12, 20, 33, 44], [3, 3, 6, 3], sex=sex))
    assert result.overall.count == 4
    assert result.overall.mae == pytest.approx((2 + 5 + 3 + 14) / 4)
    assert result.overall.bias == pytest.approx((2 - 5 + 3 + 14) / 4)
    assert result.overall.cs3 == 0.5  # 3 years off is within 3 years
    assert result.overall.cs5 == 0.75
    assert result.overall.coverage == 0.5
    assert result.overall.width == pytest.approx((6 + 6 + 12 + 6) / 4)
    assert list(result.by_decade) == ["10-19", "20-29", "30-39"]
    assert result.by_decade["30-39"].mae == pytest.approx(8.5)
    assert list(result.by_sex) == ["female", "male"]
    assert result.by_sex["female"].mae == pytest.approx(2.5)
    assert 2 <= result.mae_interval[0] < result.overall.mae < result.mae_interval[1] <= 14
    assert result.ranges is None


def test_scores_of_groups(make_predictions: Make) -> None:
    groups = {"race": ("Asian", "Black", "Asian", ""), "camera": ("", "", "x", "x")}
    result = evaluate(make_predictions([10, 20, 30, 40], [11, 22, 33, 44], groups=groups))
    assert list(result.by_group) == ["race", "camera"]
    assert {name: score.mae for name, score in result.by_group["race"].items()} == {
        "Asian": 2,
        "Black": 2,
    }
    assert result.by_group["camera"]["x"].mae == 3.5
    assert result.by_group["camera"]["x"].count == 2


def test_the_rarest_values_of_a_group_are_evaluated_together(make_predictions: Make) -> None:
    """Of 60 values, 9 have two photos and 51 have one. 41 of the latter are among the first 50."""
    values = [f"{i:02d}" for i in range(60)] + [f"{i:02d}" for i in range(9)]
    labels = [20] * 69
    result = evaluate(make_predictions(labels, labels, groups={"id": tuple(values)}))
    scores = result.by_group["id"]
    assert len(scores) == 51
    assert scores[OTHER_VALUES].count == 10
    assert sum(score.count for score in scores.values()) == 69


def test_ranges_are_scored_by_share_inside_and_distance(make_predictions: Make) -> None:
    """Of the ranges 3-9 and 20-29, one age is inside, and others are 2 years below or 6 above."""
    result = evaluate(
        make_predictions(
            [(3, 9), (3, 9), (20, 29), 50],
            [1, 15, 25, 40],
            [1.5, 6, 1, 1],
            sex=("male", "male", "female", "female"),
            groups={"race": ("a", "b", "b", "b")},
        )
    )
    assert (result.overall.count, result.overall.mae) == (1, 10)
    ranges = result.ranges
    assert ranges is not None
    assert ranges.overall.count == 3
    assert ranges.overall.inside == pytest.approx(1 / 3)
    assert ranges.overall.distance == pytest.approx((2 + 6 + 0) / 3)
    assert ranges.overall.bias == pytest.approx((-2 + 6 + 0) / 3)
    # 1 + 1.5 is below 3. 15 - 6 just meets 9. The mean age 6 of the range is in neither interval.
    assert ranges.overall.coverage == pytest.approx(2 / 3)
    assert list(ranges.by_range) == ["3-9", "20-29"]
    assert ranges.by_range["3-9"].distance == 4
    assert ranges.by_sex["male"].count == 2
    assert ranges.by_group["race"]["b"].distance == 3
    assert result.by_group["race"]["b"].count == 1, "exact ages and ranges are apart"
    assert result.main_score is result.overall


def test_a_dataset_of_ranges_has_no_mae(make_predictions: Make) -> None:
    result = evaluate(make_predictions([(3, 9), (20, 29)], [12, 25]))
    values = result.to_dict()
    assert (values["overall"]["count"], values["overall"]["mae"]) == (0, None)
    assert values["mae_interval"] is None
    assert values["by_decade"] == {}
    assert values["ranges"]["overall"]["distance"] == 1.5
    assert result.main_score.error == 1.5
    json.dumps(values)


def test_groups_with_few_photos_state_no_rate(make_predictions: Make) -> None:
    labels = [25] * 20 + [35] * 19
    result = evaluate(make_predictions(labels, labels)).to_dict()
    twenties, thirties = result["by_decade"].values()
    assert (twenties["count"], twenties["coverage"], twenties["cs5"]) == (20, 1, 1)
    assert twenties["coverage_interval"] == pytest.approx([0.8316, 1], abs=1e-4)
    assert twenties["mae_interval"] == [0, 0]
    assert (thirties["count"], thirties["mae"], thirties["width"]) == (19, 0, 2)
    for name in ("cs3", "cs5", "coverage", "coverage_interval", "mae_interval"):
        assert thirties[name] is None
    assert result["rates_from_photos"] == 20


def test_a_dataset_of_few_photos_states_no_rate(make_predictions: Make) -> None:
    """All photos together follow the rule of the groups: 19 photos state no rate, 20 do."""
    labels = [25] * 10 + [15] * 10
    few, enough = (evaluate(make_predictions(labels[:n], labels[:n])).to_dict() for n in (19, 20))
    assert (few["overall"]["count"], few["overall"]["mae"]) == (19, 0)
    for name in ("cs3", "cs5", "coverage", "coverage_interval", "mae_interval"):
        assert few["overall"][name] is None
        assert enough["overall"][name] is not None
    assert (few["mae_interval"], enough["mae_interval"]) == (None, [0, 0])
    ranges = evaluate(make_predictions([(20, 29)] * 19, [30] * 19)).to_dict()["ranges"]["overall"]
    assert (ranges["distance"], ranges["inside"], ranges["coverage"]) == (1, None, None)


def test_small_groups_of_ranges_state_no_rate(make_predictions: Make) -> None:
    result = evaluate(make_predictions([(20, 29)] * 20 + [(3, 9)], [30] * 21)).to_dict()["ranges"]
    small, large = result["by_range"].values()
    assert (small["count"], small["distance"], small["inside"]) == (1, 21, None)
    assert small["coverage"] is None
    assert (large["inside"], large["coverage"]) == (0, 1)


def test_the_highest_age_stands_for_all_above_it(make_predictions: Make) -> None:
    result = evaluate(make_predictions([99, 100], [90, 90]))
    assert list(result.by_decade) == ["90-99", "100+"]


def test_nan_becomes_null_in_json(make_predictions: Make) -> None:
    """Without minors, there is no share of minors that pass, and the MAE of ranges is NaN."""
    assert evaluate(make_predictions([(3, 9)], [5])).to_dict()["overall"]["mae"] is None
    result = evaluate(make_predictions([30, 40, 50, 60] * 5, [30, 41, 52, 63] * 5)).to_dict()
    assert result["challenges"][0]["minors_passed"] is None
    assert "NaN" not in json.dumps(result)
    assert result["challenges"][9]["adults_stopped"] == 0.0
