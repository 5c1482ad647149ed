"""The plot of an evaluation: what its four axes contain is read from matplotlib."""

from typing import Any

import numpy as np
import pytest

from halnet.evaluation import plots
from halnet.evaluation.figures import LIGHT
from halnet.evaluation.predictions import Predictions

LABEL = np.array([12, 15, 22, 25, 25, 28], float)
ERROR = np.array([2, -4, 1, 1, -1, 9], float)
PREDICTIONS = Predictions(
    source=("",) * 6,
    sex=("",) * 6,
    label=LABEL,
    age=LABEL + ERROR,
    stddev=np.full(6, 5.0),
    low=LABEL + ERROR - 3,
    high=LABEL + ERROR + 3,
    adult=np.array([0.02, 0.06, 0.95, 0.97, 1.0, 1.0]),
)


@pytest.fixture(scope="module")
def axes(drawn_axes: Any) -> list[Any]:
    """The axes of a plot of `PREDICTIONS`: ages, errors, coverage and reliability."""
    return list(drawn_axes(plots, lambda path: plots.plot_evaluation(PREDICTIONS, path)))


def labels(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_ages_inside_and_outside_the_interval_have_different_marks(axes: list[Any]) -> None:
    inside, outside = (points.get_offsets() for points in axes[0].collections)
    np.testing.assert_allclose(inside, [[12, 14], [22, 23], [25, 26], [25, 24]])
    np.testing.assert_allclose(outside, [[15, 11], [28, 37]])
    assert labels(axes[0]) == [
        "predicted age = true age",
        "true age inside the 90 % interval",
        "true age outside the 90 % interval",
    ]
    assert axes[0].get_title() == "Predicted and true ages of 6 photos"
    assert axes[0].get_xlabel() == "True age, years"
    assert axes[0].get_ylabel() == "Predicted age, years"


def test_mae_and_bias_of_each_decade(axes: list[Any]) -> None:
    mae, bias = (c for c in axes[1].containers if hasattr(c, "patches"))
    assert [bar.get_height() for bar in mae] == [3, 3]
    assert [bar.get_height() for bar in bias] == [-1, 2.5]
    assert {bar.get_facecolor() for bar in mae} != {bar.get_facecolor() for bar in bias}
    assert labels(axes[1]) == ["MAE", "bias (above 0: predicted too old)"]
    ticks = [text.get_text() for text in axes[1].get_xticklabels()]
    assert ticks == ["10-19\nn=2", "20-29\nn=4"]
    assert axes[1].get_title().startswith("MAE of all photos (dashed line): 3.00 years,\n95 % int")


def test_the_intervals_of_the_mae(axes: list[Any]) -> None:
    """In the second decade, the errors are 1, 1, 1 and 9: a deviation of 3.46, divided by 2."""
    reach = 1.96 * np.std([1, 1, 1, 9]) / 2
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
    # Wilson's interval of 1 in 2 is 9.5 % to 90.5 %.
    np.testing.assert_allclose(
        axes[2].collections[0].get_segments()[0][:, 1], [9.45, 90.55], atol=0.01
    )


def test_reliability_of_the_probability(axes: list[Any]) -> None:
    _, points = axes[3].collections
    np.testing.assert_allclose(points.get_offsets(), [[4, 0], [98, 100]])
    assert [text.get_text() for text in axes[3].texts] == ["n=2", "n=4"]
    assert axes[3].get_xlabel() == "Predicted probability of being 18 or older, %"
    assert axes[3].get_ylabel() == "Observed share of people aged 18 or older, %"
    assert labels(axes[3]) == ["perfectly calibrated"]


def test_data_has_the_colours_of_the_theme(axes: list[Any]) -> None:
    from matplotlib.colors import to_hex

    assert {to_hex(bar.get_facecolor()) for bar in axes[2].containers[0]} == {LIGHT.blue.lower()}
