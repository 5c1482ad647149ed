"""The plot of the robustness: what its axes contain is read from matplotlib."""

from dataclasses import replace
from typing import Any

import pytest

from halnet.evaluation import robustness_plot
from halnet.evaluation.rates import Rate
from halnet.evaluation.robustness import Effect

EFFECTS = [
    Effect("none", "none", 100, 4.0, 0.5, Rate(91, 100), 0.0, 0.0),
    *(
        Effect(name, strength, 100, 4 + i + j, 0.5, Rate(90 - j, 100), 1.0 + j, 3.0 + j)
        for i, name in enumerate(("noise", "low-resolution", "jpeg"))
        for j, strength in enumerate(("weak", "middle", "strong"))
    ),
]


@pytest.fixture(scope="module")
def axes(drawn_axes: Any) -> list[Any]:
    def draw(path: Any) -> None:
        robustness_plot.plot_robustness(EFFECTS, path)

    return list(drawn_axes(robustness_plot, draw))


def test_each_degradation_has_a_plot(axes: list[Any]) -> None:
    assert [plot.get_title() for plot in axes] == ["Noise", "Low resolution", "JPEG", "", ""]
    assert [plot.axison for plot in axes] == [True, True, True, False, False]
    assert len({plot.get_ylim() for plot in axes[:3]}) == 1, "heights can be compared"


def test_lines_begin_without_a_degradation(axes: list[Any]) -> None:
    error, p95, mean = axes[1].lines
    assert list(error.get_ydata()) == [4, 5, 6, 7]
    assert list(p95.get_ydata()) == [0, 3, 4, 5]
    assert list(mean.get_ydata()) == [0, 1, 2, 3]
    labels = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert labels == ["MAE", "age shift, 95th percentile", "age shift, mean"]
    assert axes[0].get_ylabel() == "Years"


def test_the_coverage_of_few_photos_is_not_stated(drawn_axes: Any) -> None:
    few = [replace(effect, coverage=Rate(18, 19)) for effect in EFFECTS]
    first, *_ = drawn_axes(robustness_plot, lambda path: robustness_plot.plot_robustness(few, path))
    assert first.get_xticklabels()[1].get_text() == "weak\ntoo few"


def test_the_coverage_is_below_each_strength(axes: list[Any]) -> None:
    ticks = [text.get_text() for text in axes[2].get_xticklabels()]
    assert ticks == ["none\n91 %", "weak\n90 %", "middle\n89 %", "strong\n88 %"]
    assert axes[2].get_xlabel() == "Strength, and true ages inside the 90 % interval"
