"""Charts: an age distribution with its interval."""

from typing import Any

import altair as alt
import pandas as pd

from halnet.ages import AGES
from halnet.results import Face

BLUE, ORANGE = "#3B8FD0", "#E8871E"  # readable on white and on dark alike


def age_chart(face: Face, level: float) -> Any:
    """Return the distribution over ages, the interval shaded, the age as a line."""
    low, high = face.interval(level)
    years = pd.DataFrame({"age": AGES, "probability": 100 * face.probabilities})
    axis = alt.X("age:Q", title="age, years", scale=alt.Scale(domain=[0, 100]))
    area = (
        alt.Chart(years)
        .mark_area(color=BLUE, opacity=0.75, line={"color": BLUE})
        .encode(
            x=axis,
            y=alt.Y("probability:Q", title="probability, % a year"),
            tooltip=[
                alt.Tooltip("age:Q", title="age"),
                alt.Tooltip("probability:Q", title="%", format=".1f"),
            ],
        )
    )
    band = (
        alt.Chart(pd.DataFrame({"low": [low], "high": [high]}))
        .mark_rect(color=ORANGE, opacity=0.22)
        .encode(x=alt.X("low:Q", scale=alt.Scale(domain=[0, 100])), x2="high:Q")
    )
    line = alt.Chart(pd.DataFrame({"age": [face.age]})).mark_rule(color=ORANGE, size=2.5)
    return (band + area + line.encode(x="age:Q")).properties(height=240)


def describe(face: Face, level: float) -> str:
    """Return the chart in words, for those who do not see it."""
    low, high = face.interval(level)
    return (
        f"Distribution of the age: {face.age:.0f} years; the {level:.0%} interval, shaded, goes "
        f"from {low:.0f} to {high:.0f} years"
    )
