"""Charts: an age distribution with its interval."""

from typing import Any

import altair as alt
import pandas as pd

from halnet.ages import AGE_MAX, AGE_MIN, AGES, LEGAL_AGE
from halnet.results import Face

BLUE, ORANGE = "#3B8FD0", "#E8871E"  # readable on a white and on a dark page


def age_chart(face: Face, level: float) -> Any:
    """Return an Altair chart of the age distribution, with the interval shaded and the age marked.

    `level` is the coverage of the interval, between 0 and 1.
    """
    low, high = face.interval(level)
    years = pd.DataFrame({"age": AGES, "probability": 100 * face.probabilities})
    scale = alt.Scale(domain=[AGE_MIN, AGE_MAX])
    area = (
        alt.Chart(years)
        .mark_area(color=BLUE, opacity=0.75, line={"color": BLUE})
        .encode(
            x=alt.X("age:Q", title="age, years", scale=scale),
            y=alt.Y("probability:Q", title="probability per year, %"),
            tooltip=[
                alt.Tooltip("age:Q", title="age, years"),
                alt.Tooltip("probability:Q", title="probability, %", format=".1f"),
            ],
        )
    )
    band = (
        alt.Chart(pd.DataFrame({"low": [low], "high": [high]}))
        .mark_rect(color=ORANGE, opacity=0.22)
        .encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    )
    line = alt.Chart(pd.DataFrame({"age": [face.age]})).mark_rule(color=ORANGE, size=2.5)
    return (band + area + line.encode(x="age:Q")).properties(height=240)


def describe(face: Face, level: float) -> str:
    """Return a description of the chart, which people can read who do not see the chart."""
    low, high = face.interval(level)
    adult = face.probability(at_least=LEGAL_AGE)
    return (
        f"The chart shows the probability of each age. The line marks the predicted age, "
        f"{face.age:.0f} years. The {level:.0%} interval is shaded: it goes from {low:.0f} to "
        f"{high:.0f} years. The probability of an age of {LEGAL_AGE} or older is {adult:.0%}."
    )
