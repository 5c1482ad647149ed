"""The plot of an evaluation: what its four axes contain is read from matplotlib."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from halnet.evaluation import plots
from halnet.evaluation.figures import LIGHT
from halnet.evaluation.predictions import Predictions

# Ten times the same six photos.
LABEL = np.array([12, 15, 22, 25, 25, 28] * 10, float)
ERROR = np.array([2, -4, 1, 1, -1, 9] * 10, float)
PREDICTIONS = Predictions(
    source=("",) * 60,
    sex=("",) * 60,
    label_low=LABEL,
    label_high=LABEL,
    age=LABEL + ERROR,
    stddev=np.full(60, 5.0),
    low=LABEL + ERROR - 3,
    high=LABEL + ERROR + 3,
    adult=np.array([0.02, 0.06, 0.95, 0.97, 1.0, 1.0] * 10),
    dataset=("a",) * 60,
)


@pytest.fixture(scope="module")
def axes(drawn_axes: Any) -> list[Any]:
    """The axes of a plot of `PREDICTIONS`: ages, errors, coverage and reliability."""
    return list(drawn_axes(plots, lambda path: plots.plot_evaluation(PREDICTIONS, path)))


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_ages_inside_and_outside_the_interval_have_different_marks(axes: list[Any]) -> None:
    inside, outside = (points.get_offsets() for points in axes[0].collections)
    np.testing.assert_allclose(inside, [[12, 14], [22, 23], [25, 26], [25, 24]] * 10)
    np.testing.assert_allclose(outside, [[15, 11], [28, 37]] * 10)
    assert labels(axes[0]) == [
        "predicted age = true age",
        "true age inside the 90 % interval",
        "true age outside the 90 % interval",
    ]
    assert axes[0].get_title() == "Predicted and true ages of 60 photos"
    assert axes[0].get_xlabel() == "True age, years"
    assert axes[0].get_ylabel() == "Predicted age, years"


def test_mae_and_bias_of_each_decade(axes: list[Any]) -> None:
    mae, bias = (c for c in axes[1].containers if hasattr(c, "patches"))
    assert [bar.get_height() for bar in mae] == [3, 3]
    assert [bar.get_height() for bar in bias] == [-1, 2.5]
    assert {bar.get_facecolor() for bar in mae} != {bar.get_facecolor() for bar in bias}
    assert labels(axes[1]) == ["MAE", "bias (above 0: predicted too old)"]
    ticks = [text.get_text() for text in axes[1].get_xticklabels()]
    assert ticks == ["10-19\nn=20", "20-29\nn=40"]
    assert axes[1].get_title().startswith("MAE of all photos (dashed line): 3.00 years,\n95 % int")


def test_the_intervals_of_the_mae(axes: list[Any]) -> None:
    """In the second decade, the errors are 1, 1, 1 and 9: a deviation of 3.46, with n = 40."""
    reach = 1.96 * np.std([1, 1, 1, 9]) / np.sqrt(40)
    segments = axes[1].collections[0].get_segments()
    np.testing.assert_allclose(segments[1][:, 1], [3 - reach, 3 + reach])


def test_coverage_of_each_decade(axes: list[Any]) -> None:
    (bars,) = axes[2].containers
    assert [bar.get_height() for bar in bars] == [50, 75]
    assert axes[2].get_title() == (
        "True ages inside the 90 % interval: 66.7 % (dashed line: 90 %)\n"
        "Mean interval width: 6.0 years"
    )
    assert axes[2].get_ylabel() == "True ages inside the 90 % interval, %"
    (level,) = axes[2].lines
    assert list(level.get_ydata()) == [90, 90]
    # Wilson's interval of 10 in 20 is 29.9 % to 70.1 %.
    np.testing.assert_allclose(
        axes[2].collections[0].get_segments()[0][:, 1], [29.93, 70.07], atol=0.01
    )


def test_reliability_of_the_probability(axes: list[Any]) -> None:
    _, points = axes[3].collections
    np.testing.assert_allclose(points.get_offsets(), [[4, 0], [98, 100]])
    assert [text.get_text() for text in axes[3].texts] == ["n=20", "n=40"]
    assert axes[3].get_xlabel() == "Predicted probability of being 18 or older, %"
    assert axes[3].get_ylabel() == "Observed share of people aged 18 or older, %"
    assert labels(axes[3]) == ["perfectly calibrated"]


RANGES = Predictions(
    source=("",) * 4,
    sex=("",) * 4,
    label_low=np.array([3, 3, 20, 10], float),
    label_high=np.array([9, 9, 29, 19], float),
    age=np.array([5, 13, 25, 22], float),
    stddev=np.full(4, 5.0),
    low=np.array([2, 10, 22, 19], float),
    high=np.array([8, 16, 28, 25], float),
    adult=np.array([0.02, 0.06, 0.95, 0.5]),
    dataset=("b",) * 4,
)


def join(*parts: Predictions) -> Predictions:
    """Return the predictions of several datasets as one."""
    return Predictions(
        **{
            field.name: (
                np.concatenate([getattr(part, field.name) for part in parts])
                if isinstance(getattr(parts[0], field.name), np.ndarray)
                else tuple(value for part in parts for value in getattr(part, field.name))
            )
            for field in fields(Predictions)
            if field.name != "groups"
        }
    )


def test_ranges_have_distances_by_range(drawn_axes: Any) -> None:
    ages, errors, coverage, reliability = drawn_axes(
        plots, lambda path: plots.plot_evaluation(RANGES, path)
    )
    met, missed = (lines.get_segments() for lines in ages.collections)
    np.testing.assert_allclose(met, [[[3, 5], [9, 5]], [[20, 25], [29, 25]], [[10, 22], [19, 22]]])
    np.testing.assert_allclose(missed, [[[3, 13], [9, 13]]])
    distance, bias = (c for c in errors.containers if hasattr(c, "patches"))
    assert [bar.get_height() for bar in distance] == [2, 3, 0]
    assert [bar.get_height() for bar in bias] == [2, 3, 0]
    assert labels(errors)[0] == "distance to the range"
    ticks = [text.get_text() for text in errors.get_xticklabels()]
    assert ticks == ["3-9\nn=2", "10-19\nn=1", "20-29\nn=1"]
    assert errors.get_title() == (
        "Distance to the range of all photos (dashed line): 1.75 years,\nfewer than 20 photos"
    )
    assert not coverage.containers[0].patches
    assert [text.get_text() for text in coverage.texts] == ["fewer than 20 photos"] * 3
    title = "Ranges that the 90 % interval meets: fewer than 20 photos (dashed line: 90 %)"
    assert coverage.get_title().startswith(title)
    _, points = reliability.collections
    assert len(points.get_offsets()) == 0
    notes = {text.get_text(): text.get_position()[0] for text in reliability.texts[:1]}
    assert notes == {"fewer than 20 photos": pytest.approx(4)}
    assert reliability.texts[1].get_position()[0] == pytest.approx(95)


def test_a_plot_that_does_not_apply_says_so(drawn_axes: Any) -> None:
    part = RANGES.select(np.array([False, False, False, True]))
    reliability = drawn_axes(plots, lambda path: plots.plot_evaluation(part, path))[3]
    (text,) = reliability.texts
    assert text.get_text().startswith("does not apply: each label is a range")
    assert not reliability.collections


def test_several_datasets_have_different_colours(drawn_axes: Any) -> None:
    both = join(PREDICTIONS, RANGES)
    ages, errors, *_ = drawn_axes(plots, lambda path: plots.plot_evaluation(both, path))
    assert labels(ages) == [
        "predicted age = true age",
        *("a, inside the 90 % interval", "a, outside the 90 % interval"),
        *("b, inside the 90 % interval", "b, outside the 90 % interval"),
    ]
    colours = [tuple(np.round(c.get_edgecolor()[0][:3], 3)) for c in ages.collections]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert errors.get_title().startswith("MAE of 60 photos with exact ages (dashed line): 3.00")
    ticks = [text.get_text() for text in errors.get_xticklabels()]
    assert ticks == ["10-19\nn=20", "20-29\nn=40"]


def test_data_has_the_colours_of_the_theme(axes: list[Any]) -> None:
    from matplotlib.colors import to_hex

    assert {to_hex(bar.get_facecolor()) for bar in axes[2].containers[0]} == {LIGHT.blue.lower()}
